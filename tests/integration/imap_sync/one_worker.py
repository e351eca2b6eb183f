"""One worker in a process of its own: `python -m tests.integration.imap_sync.one_worker NATS REDIS NAME`."""

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import replace

import uvloop

from postbus.common.config import Config
from postbus.common.service import open_parts
from postbus.imap_sync.service import serve
from tests.integration.imap_sync.syncing import KEY_RING, QUICK


async def work(nats: str, redis: str, name: str) -> None:
    async with AsyncExitStack() as stack:
        parts = await open_parts(stack, "imap-sync", Config(redis=redis, nats=nats, secret=KEY_RING))
        await serve(replace(parts, worker=name), QUICK)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(sys.argv[1], sys.argv[2], sys.argv[3]))
