"""A running Postbus of a test, and a look at its processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import ServerProcess

ROOT = Path(__file__).parents[3]
READY = "Postbus is ready"
PATIENCE_S = 20.0


class Instance(ServerProcess):
    """`postbus up` with the smallest services, in a directory of its own; `program` is what runs instead."""

    name = "postbus"

    def __init__(self, *options: str, program: Sequence[str] = ("-m", "tests.integration.cli.run_tiny")) -> None:
        super().__init__(free_port())
        self.data = self.directory / "data"
        self._options = options
        self._program = program

    def command(self) -> Sequence[str | Path]:
        """Return the command line."""
        own = ["--service.dataDir", str(self.data), "--api.port", str(self.port), "--workers.imap", "2"]
        python_path = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runpy; sys.argv[0] = 'postbus'; "
        if self._program[0] == "-m":
            run = f"{python_path}runpy.run_module({self._program[1]!r}, run_name='__main__')"
            return [sys.executable, "-c", run, *self._options, *own]
        return [*self._program, *self._options, *own]

    def ready(self) -> bool:
        """Said that it is."""
        return READY in self.said().rpartition("=== start")[2]

    def start(self) -> "Instance":
        """Start, after a mark in the log: what an earlier start said does not count."""
        with self.log_file.open("a") as log:
            log.write("=== start\n")
        super().start()
        return self

    def said(self) -> str:
        """Everything it wrote."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def terminate(self) -> int:
        """SIGTERM; its exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Its exit status, once it ends by itself."""
        assert self._process is not None
        process, self._process = self._process, None
        return process.wait(PATIENCE_S)

    def process(self, name: str) -> int:
        """The pid of one of its processes, by the name that `top` shows."""
        return next(pid for pid, found in processes_of(self.pid).items() if found == name)


def processes_of(pid: int) -> dict[int, str]:
    """All processes below this one, with their names; those that ended and wait to be reaped do not count."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
            if rest[0] not in ("Z", "X"):
                parents[int(entry.name)] = int(rest[1]), name
    found: dict[int, str] = {}
    level = {pid}
    while level:
        level = {child for child, (parent, _) in parents.items() if parent in level}
        found |= {child: parents[child][1] for child in level}
    return found


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until it holds."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"{what} did not come true"
        time.sleep(0.02)


def run_once(*arguments: str, cwd: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The installed command, run to its end."""
    command = [str(Path(sys.executable).with_name("postbus")), *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EENGINE_", "VAULT_"))}
    return subprocess.run(
        command, cwd=cwd, env=clean | (environ or {}), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
