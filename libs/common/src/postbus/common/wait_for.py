"""`asyncio.wait_for` of Python 3.12 for 3.11, whose own one loses cancellations.

In 3.11 a task that is cancelled just as what it waits for gets done receives the result, and the cancellation is gone:
the task runs on, and whoever waits for its end waits for ever (fixed in 3.12 by writing it over `asyncio.timeout`).
redis-py waits so for every command it sends and nats-py for every flush, so that any task of ours was deaf to a stop
or a deadline by chance. The newer one makes no task per call either.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


def install_wait_for() -> None:
    """Replace `asyncio.wait_for` for this process where Python is older than 3.12."""
    if sys.version_info < (3, 12):
        asyncio.wait_for = asyncio.tasks.wait_for = wait_for  # type: ignore[assignment]


async def wait_for(fut: Awaitable[T], timeout: float | None) -> T:
    """Return the result; TimeoutError after `timeout` seconds, when what was waited for is cancelled.

    A timeout of zero or less takes only what is there already.
    """
    if timeout is None or timeout > 0:
        async with asyncio.timeout(timeout):
            return await fut
    task = asyncio.ensure_future(fut)
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
    try:
        return task.result()
    except asyncio.CancelledError as error:
        raise TimeoutError from error
