"""Reading over the API: requests a second and CPU a request, with 1 and 8 callers."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp

from tests.bench.stage import Stage, spread

MESSAGES, QUICK_MESSAGES = 10_000, 500
CALLERS = (1, 8)
PAGES = 50


async def run(stage: Stage) -> AsyncIterator[dict[str, Any]]:
    """One account; what is read is drawn anew each time, with a fixed seed."""
    size = QUICK_MESSAGES if stage.quick else MESSAGES
    await asyncio.to_thread(stage.mail.seed, "read@bench.test", size)
    [account] = await stage.add_accounts(["read"])
    base = f"{stage.postbus.url}/v1/account/{account}"
    listing = stage.postbus.client.get(f"/v1/account/{account}/messages?path=INBOX&pageSize=250").json()["messages"]
    pages = min(PAGES, size // 20)
    kinds = {
        "account": [base],
        "mailboxes": [f"{base}/mailboxes"],
        "list 20 messages": [f"{base}/messages?path=INBOX&page={page}" for page in range(pages)],
        "one message": [f"{base}/message/{row['id']}" for row in listing],
        "its text": [f"{base}/text/{row['text']['id']}" for row in listing],
    }
    for what, urls in kinds.items():
        for callers in CALLERS:
            yield {"what": what, "callers": callers, **await _load(stage, urls, callers, 2.0 if stage.quick else 8.0)}


async def _load(stage: Stage, urls: Sequence[str], callers: int, seconds: float) -> dict[str, Any]:
    taken: list[float] = []
    draw = random.Random(1)
    async with aiohttp.ClientSession() as session, stage.cost() as cost:
        until = time.monotonic() + seconds
        await asyncio.gather(*(_call(session, urls, draw, until, taken) for _ in range(callers)))
    per_request = round(cost["cpu_s"] * 1000 / len(taken), 2)
    return {"requests_per_s": round(len(taken) / seconds, 1), "cpu_ms_per_request": per_request, **spread(taken)}


async def _call(
    session: aiohttp.ClientSession, urls: Sequence[str], draw: random.Random, until: float, taken: list[float]
) -> None:
    while (started := time.monotonic()) < until:
        async with session.get(draw.choice(urls)) as answer:
            await answer.read()
            assert answer.status == 200, await answer.text()
        taken.append(time.monotonic() - started)
