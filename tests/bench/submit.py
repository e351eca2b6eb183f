"""Submissions: how fast they are accepted, and how long until the last one is in its mailbox."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.bench.stage import Stage, spread

COUNT, QUICK_COUNT = 1000, 100
CALLERS = 8
PATIENCE_S = 300.0


async def run(stage: Stage) -> AsyncIterator[dict[str, Any]]:
    """From 20 accounts, with a copy in Sent."""
    accounts = await stage.add_accounts(f"submit{number}" for number in range(20))
    count = QUICK_COUNT if stage.quick else COUNT
    taken: list[float] = []
    numbers = iter(range(count))
    async with aiohttp.ClientSession() as session, stage.cost() as cost:
        started = time.monotonic()
        await asyncio.gather(*(_submit(stage, session, accounts, numbers, taken) for _ in range(CALLERS)))
        accepted = time.monotonic() - started
        await _wait_sent(stage, count)
        delivered = time.monotonic() - started
    rates = {"accepted_per_s": round(count / accepted, 1), "delivered_per_s": round(count / delivered, 1)}
    yield {"what": f"{count} submissions", **rates, **cost, **spread(taken)}


async def _submit(
    stage: Stage, session: aiohttp.ClientSession, accounts: list[str], numbers: Any, taken: list[float]
) -> None:
    for number in numbers:
        body = {"to": [{"address": "submitted@bench.test"}], "subject": f"number {number}", "text": "text " * 200}
        started = time.monotonic()
        url = f"{stage.postbus.url}/v1/account/{accounts[number % len(accounts)]}/submit"
        async with session.post(url, json=body) as answer:
            assert answer.status == 200, await answer.text()
        taken.append(time.monotonic() - started)


async def _wait_sent(stage: Stage, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while sum(request.json["event"] == "messageSent" for request in list(stage.sink.requests)) < count:
        assert time.monotonic() < deadline, "not everything was sent"
        await asyncio.sleep(0.1)
