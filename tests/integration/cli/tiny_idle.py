"""The smallest service: it is connected to everything, and waits."""

import asyncio

from postbus.common.service import Parts


async def serve(parts: Parts) -> None:
    await parts.redis.ping()
    await parts.bus.nc.flush()
    await asyncio.Event().wait()
