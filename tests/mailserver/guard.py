"""Runs beside the launcher and ends its servers should it be killed; a program of its own, which imports nothing of us.

Reads `pid N`, `gone N`, `keep` and `clean` lines; at end of file it ends what is left and removes the directory.
A parent-death signal would not do: Postfix changes its credentials, which clears it.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

TERM_S, KILL_S = 5.0, 1.0
POLL_S = 0.05


def main(directory: str, orders: TextIO) -> int:
    """Follow the orders until their end, then clean up what they left."""
    pids: set[int] = set()
    stays = False
    for line in orders:
        word, _, argument = line.strip().partition(" ")
        if word == "pid":
            pids.add(int(argument))
        elif word == "gone":
            pids.discard(int(argument))
        else:  # keep: a person wants the directory; clean: the launcher removed it
            stays = True
    for number, patience in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
        _end(pids, directory, number, patience)
    if not stays:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def _end(pids: set[int], directory: str, number: signal.Signals, patience: float) -> None:
    for pid in _ours(pids, directory):
        try:
            if number is signal.SIGKILL:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)
        except ProcessLookupError:
            continue
    until = time.monotonic() + patience
    while _ours(pids, directory) and time.monotonic() < until:
        time.sleep(POLL_S)


def _ours(pids: set[int], directory: str) -> list[int]:
    """Those that run and still are servers of this directory: a pid may have been given to somebody else."""
    return [pid for pid in pids if directory.encode() in _command_line(pid)]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.stdin))
