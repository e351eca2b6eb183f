"""What a burst needed is given back to the system, in a process of its own: the setting is for good."""

import subprocess
import sys

import pytest

from postbus.imap_sync import service

SCRIPT = """
import sys
from pathlib import Path
from postbus.imap_sync.allocator import give_back_large_blocks

def held():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)

if not give_back_large_blocks():
    sys.exit()
before = held()
for _ in range(3):  # of every four buffers one is kept, so that the others are holes
    buffers = [bytearray(b"x" * 256 * 1024) for _ in range(100)]
    kept = [bytes(1000) for _ in range(100)]
    del buffers
print(held() - before)
"""


def test_large_buffers_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True)
    assert not done.stdout or int(done.stdout) < 4_000  # KB of 25,600


@pytest.mark.anyio
async def test_it_is_done_wherever_the_service_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor forks into `serve`, and never calls `main`."""

    class DoneError(Exception):
        pass

    def give_back() -> bool:
        raise DoneError

    monkeypatch.setattr(service, "give_back_large_blocks", give_back)
    with pytest.raises(DoneError):
        await service.serve(None)  # type: ignore[arg-type]
