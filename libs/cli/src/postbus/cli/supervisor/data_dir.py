"""The data directory: who may use it, and where in it everything is.

The lock belongs to every process of an instance: it is free once the last of them, Valkey and NATS too, is gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from postbus.common.config import ConfigError

MAX_SOCKET_PATH = 107  # bytes; sun_path of unix(7), less its NUL
DYING_S = 3.0  # how long the children of an instance that was killed may take to follow it
LOCK_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class DataDir:
    """Paths under one data directory."""

    path: Path

    @property
    def nats(self) -> Path:
        """JetStream's store."""
        return self.path / "nats"

    @property
    def valkey(self) -> Path:
        """Valkey's append-only file."""
        return self.path / "valkey"

    @property
    def logs(self) -> Path:
        """Logs of NATS and Valkey."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """What only a running instance needs: lock, generated configuration, sockets."""
        return self.path / "run"

    def make(self) -> None:
        """Create what is missing, for the owner only; ConfigError when that is not possible."""
        try:
            for directory in (self.path, self.nats, self.valkey, self.logs, self.run):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError([f"data directory {self.path}: {error.strerror}"]) from error

    def lock(self) -> int:
        """Take the directory for this instance and what it forks; ConfigError when another one has it.

        The descriptor is inheritable on purpose: nobody closes it, the kernel does when the last holder ends.
        """
        descriptor = os.open(self.run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + DYING_S
        while not _try_lock(descriptor):
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            if time.monotonic() > until or _is_alive(holder):
                os.close(descriptor)
                raise ConfigError([_refusal(self.path, holder)])
            time.sleep(LOCK_POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        os.set_inheritable(descriptor, True)
        return descriptor

    def socket_path(self, name: str) -> Path:
        """Where a unix socket goes: under `run`, or, where that path is too long, in a private directory under /tmp.

        ConfigError when somebody else has taken that directory.
        """
        path = self.run.absolute() / name
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
            return path
        digest = hashlib.sha256(os.fsencode(self.path.absolute())).hexdigest()[:16]
        short = Path("/tmp") / f"postbus-{os.getuid()}-{digest}"  # noqa: S108 - checked below
        short.mkdir(mode=0o700, exist_ok=True)
        status = short.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise ConfigError([f"{short} is not a directory of ours alone: remove it"])
        return short / name


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: str) -> bool:
    """Whether the holder that signed the lock still runs; its children may be about to end otherwise."""
    try:
        state = Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return False
    return state not in ("Z", "X")


def _refusal(path: Path, holder: str) -> str:
    return (
        f"data directory {path}: another Postbus (process {holder or 'unknown'}) uses it. "
        "Stop that one, or give this one a directory of its own with EENGINE_DATA_DIR"
    )
