"""A worker that kills itself (SIGKILL) around every write and publish by chance, and is started again at once.

`python -m tests.integration.imap_sync.crashing_worker NATS REDIS CRASHES SEED` forks one worker after the other: the
first CRASHES of them crash, the last one lives until this process is told to end. Prints `steady` before that one.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import uvloop

from postbus.common.bus.batch import publish_events
from postbus.common.config import Config
from postbus.common.service import open_parts
from postbus.imap_sync import outbox, worker
from postbus.imap_sync.service import serve
from postbus.imap_sync.state.flush import flush_account
from postbus.imap_sync.state.store import SyncStore
from tests.integration.imap_sync.syncing import KEY_RING, QUICK

CHANCE = 0.08


def crashing(function: Callable[..., Awaitable[Any]], draw: random.Random) -> Callable[..., Awaitable[Any]]:
    """The function, with a crash before or after it."""

    async def run(*args: Any, **options: Any) -> Any:
        crash(draw)
        result = await function(*args, **options)
        crash(draw)
        return result

    return run


def crash(draw: random.Random) -> None:
    if draw.random() < CHANCE:
        os.kill(os.getpid(), signal.SIGKILL)


def end(child: int, *_: object) -> None:
    os.kill(child, signal.SIGKILL)
    os._exit(0)


async def work(nats: str, redis: str, draw: random.Random | None) -> None:
    if draw is not None:
        for name in ("commit", "read_outbox", "trim_outbox", "index"):
            setattr(SyncStore, name, crashing(getattr(SyncStore, name), draw))
        setattr(worker, "flush_account", crashing(flush_account, draw))  # noqa: B010
        setattr(outbox, "publish_events", crashing(publish_events, draw))  # noqa: B010
    async with AsyncExitStack() as stack:
        parts = await open_parts(stack, "imap-sync", Config(redis=redis, nats=nats, secret=KEY_RING))
        await serve(replace(parts, worker="crashing"), QUICK)


def main(nats: str, redis: str, crashes: int, seed: int) -> None:
    draw = random.Random(seed)
    for round_ in range(crashes + 1):
        if round_ == crashes:
            print("steady", flush=True)
        pid = os.fork()
        if pid == 0:
            chance = random.Random(draw.randrange(2**32) + round_) if round_ < crashes else None
            with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(work(nats, redis, chance))
            os._exit(0)
        signal.signal(signal.SIGTERM, partial(end, pid))
        os.waitpid(pid, 0)
        draw.random()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
