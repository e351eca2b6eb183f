"""Ending tasks for sure: libraries swallow cancellations (nats-py 2.16 while it flushes, asyncio.wait_for in 3.11)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

AGAIN_S = 0.25


async def end_tasks(tasks: Iterable[asyncio.Task[None]], *, limit_s: float) -> None:
    """Cancel these tasks, again and again, until they end or the time is over. What they raise is left in them."""
    left = {task for task in tasks if not task.done()}
    loop = asyncio.get_running_loop()
    end = loop.time() + limit_s
    while left and loop.time() < end:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_S)
