"""Workers of imap-sync as processes that a test may kill at any moment.

`python -m tests.chaos.workers NATS REDIS quick|default` reads `start NAME` lines, forks a worker for each and prints
its process id. `quick` polls all the time. It ends, and its workers with it, when its input does.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import Self

from postbus.common.config import Config
from postbus.common.service import Parts, run_configured
from postbus.imap_sync.service import serve
from postbus.imap_sync.tuning import Tuning
from tests.integration.imap_sync.syncing import KEY_RING, QUICK

START_TIMEOUT_S = 30.0
KILL_TIMEOUT_S = 10.0
GONE_POLL_S = 0.01


class Workers:
    """The processes of one test, by name."""

    def __init__(self, nats_url: str, redis_url: str, pace: str = "quick") -> None:
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.workers", nats_url, redis_url, pace],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pids: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.wait(START_TIMEOUT_S)
        self._zygote.stdout.close()

    def start(self, name: str) -> None:
        """Start a worker under a name that no living one has."""
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(f"start {name}\n")
        self._zygote.stdin.flush()
        self.pids[name] = int(self._zygote.stdout.readline())

    def kill(self, name: str) -> None:
        """SIGKILL; returns when the process is gone."""
        pid = self.pids.pop(name)
        deadline = time.monotonic() + KILL_TIMEOUT_S
        with suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.kill(pid, signal.SIGKILL)
                time.sleep(GONE_POLL_S)
            raise AssertionError(f"{name} lives on")

    def freeze(self, name: str) -> None:
        """SIGSTOP: as a machine that stands still for a while."""
        os.kill(self.pids[name], signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        os.kill(self.pids[name], signal.SIGCONT)


def _work(nats: str, redis: str, name: str, tuning: Tuning) -> None:
    async def serve_named(parts: Parts) -> None:
        await serve(replace(parts, worker=name), tuning)

    run_configured("imap-sync", serve_named, Config(redis=redis, nats=nats, secret=KEY_RING, log_level="error"))


def _main(nats: str, redis: str, pace: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to wait for them
    children = []
    for line in iter(sys.stdin.readline, ""):
        name = line.split()[1]
        pid = os.fork()
        if pid == 0:
            os.close(0)
            _work(nats, redis, name, QUICK if pace == "quick" else Tuning())
            os._exit(0)
        children.append(pid)
        print(pid, flush=True)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    _main(*sys.argv[1:])
