"""Where an instance lives: its directory, its ports, the user its mail belongs to."""

import grp
import os
import pwd
import resource
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.mailserver.options import Options

STATE_FILE = "mailserver.json"
MAX_PATH = 70  # characters of the directory, because of unix sockets (sun_path has 108)
REMOVE_TRIES = 20
FILES_BESIDE = 512  # open files that are no connection
FEWEST_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Owner:
    """The system user that mail belongs to."""

    uid: int
    gid: int
    user: str
    group: str

    @classmethod
    def of(cls, mail_user: str) -> Self:
        """The given user when we are root, else ourselves."""
        entry = pwd.getpwnam(mail_user) if is_root() else pwd.getpwuid(os.geteuid())
        return cls(entry.pw_uid, entry.pw_gid, entry.pw_name, grp.getgrgid(entry.pw_gid).gr_name)


@dataclass(slots=True)
class Site:
    """The directory, and what configurations are written for."""

    directory: Path
    owner: Owner
    max_connections: int
    ports: dict[str, int]

    def path(self, *parts: str) -> Path:
        """A path in the directory."""
        return self.directory.joinpath(*parts)

    def write(self, name: str, text: str) -> None:
        """Write a file that everybody may read."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)

    def own(self, *names: str) -> None:
        """Make these directories and give them to the mail user."""
        for name in names:
            self.path(name).mkdir(exist_ok=True)
            if is_root():
                os.chown(self.path(name), self.owner.uid, self.owner.gid)

    def remove(self) -> None:
        """Remove the directory; servers that are just ending may write a last file."""
        for _ in range(REMOVE_TRIES):
            shutil.rmtree(self.directory, ignore_errors=True)
            if not self.directory.exists():
                return
            time.sleep(0.1)


def make_site(options: Options) -> Site:
    """Make the directory. RuntimeError when it is in use, too deep, or out of reach of the mail user."""
    if options.dir:
        directory = Path(options.dir).absolute()
        if (directory / STATE_FILE).exists():
            raise RuntimeError(f"{directory} is in use (has {STATE_FILE}); stop it first")
        directory.mkdir(parents=True, exist_ok=True)
    else:
        directory = Path(tempfile.mkdtemp(prefix="ms-"))
    directory.chmod(0o755)
    if len(str(directory)) > MAX_PATH:
        raise RuntimeError(f"path too long for unix sockets: {directory}")
    if is_root():
        _check_reachable(directory)
    site = Site(directory, Owner.of(options.mail_user), _connections(options.max_connections), {})
    for name in ("run", "state", "log", "tls"):
        site.path(name).mkdir(exist_ok=True)
    site.own("mail", "sieve", *(["rawlog"] if options.rawlog else []))
    return site


def is_root() -> bool:
    """Whether we may become other users, which Postfix needs."""
    return os.geteuid() == 0


def allow_many_files() -> None:
    """Let this process open as many files as it may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _connections(wanted: int) -> int:
    """As many as wanted, and no more than the limit of open files lets Dovecot serve."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    return max(FEWEST_CONNECTIONS, min(wanted, (files - FILES_BESIDE) // 2))


def _check_reachable(directory: Path) -> None:
    for parent in directory.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            raise RuntimeError(
                f"{parent} is not searchable by others; mail and postfix users cannot reach the instance. "
                "Set TMPDIR or --dir to another place"
            )
