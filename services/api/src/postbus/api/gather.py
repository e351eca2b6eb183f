"""Metrics of all services: ask on the bus, take what comes in a short time, sum it up."""

from __future__ import annotations

import asyncio

import nats.errors
from nats.aio.msg import Msg

from postbus.common import commands, metrics
from postbus.common.bus.connection import Bus

MAX_WAIT_S = 1.0
QUIET_S = 0.25  # who has not answered by then, after the last one did, does not
MAX_ANSWERS = 1000


async def gather_metrics(bus: Bus) -> bytes:
    """The metrics of every service that answers; of this process alone while the bus is away."""
    try:
        answers = await _ask_all(bus)
    except nats.errors.Error:
        answers = []
    return await asyncio.to_thread(metrics.merge, answers or [metrics.render_local()])


async def _ask_all(bus: Bus) -> list[bytes]:
    inbox = bus.nc.new_inbox()
    queue: asyncio.Queue[Msg] = asyncio.Queue(MAX_ANSWERS)
    subscription = await bus.nc.subscribe(inbox, cb=queue.put)
    answers: list[bytes] = []
    try:
        await bus.nc.publish(commands.METRICS_WANTED, b"", reply=inbox)
        async with asyncio.timeout(MAX_WAIT_S):
            while len(answers) < MAX_ANSWERS:
                async with asyncio.timeout(QUIET_S):
                    message = await queue.get()
                if not (message.headers or {}).get("Status"):
                    answers.append(message.data)
    except TimeoutError:
        return answers
    finally:
        await subscription.unsubscribe()
    return answers
