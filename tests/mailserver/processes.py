"""The server processes of an instance, and the guard that ends them should we be killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.mailserver import guard
from tests.mailserver.instance import allow_many_files

END_TIMEOUT_S = 8.0
GUARD_TIMEOUT_S = 10.0


class Processes:
    """Children by name. Start them from the main thread."""

    def __init__(self, directory: Path, *, keep: bool) -> None:
        self._directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[str] | None = None
        self._keep = keep

    @property
    def names(self) -> list[str]:
        """Those that were started and not ended."""
        return list(self._running)

    def ended(self) -> list[str]:
        """Those that ended by themselves."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    def spawn(self, name: str, command: Sequence[str]) -> Callable[[], bool]:
        """Start a server; the result tells whether it still runs."""
        with (self._directory / "log" / f"{name}.out").open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._directory,
                start_new_session=True,
                preexec_fn=allow_many_files,
            )
        self._running[name] = process
        self._tell(f"pid {process.pid}")
        return lambda: process.poll() is None

    def end(self, name: str) -> None:
        """End a server and whatever is left of its session."""
        process = self._running.pop(name, None)
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_TIMEOUT_S)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._tell(f"gone {process.pid}")

    def end_all(self) -> None:
        """End every server."""
        for name in self.names:
            self.end(name)

    def dismiss_guard(self) -> None:
        """Everything is cleaned up: the guard has nothing left to do."""
        if self._guard is None or self._guard.stdin is None:
            return
        self._tell("clean")
        with suppress(OSError):
            self._guard.stdin.close()
        self._guard.wait(GUARD_TIMEOUT_S)

    def _tell(self, line: str) -> None:
        if self._guard is None:
            self._guard = self._start_guard()
        if self._guard.stdin is not None:
            with suppress(OSError):
                self._guard.stdin.write(f"{line}\n")
                self._guard.stdin.flush()

    def _start_guard(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-I", guard.__file__, str(self._directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd="/",
            start_new_session=True,
        )
        if self._keep and process.stdin is not None:
            process.stdin.write("keep\n")
        return process
