"""Index an account with a large INBOX: from `POST /v1/account` until it is connected and counts every message."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from tests.bench.stage import Stage

SIZES, QUICK_SIZES = (10_000, 50_000), (1_000,)


async def run(stage: Stage) -> AsyncIterator[dict[str, Any]]:
    """One account for each size."""
    for size in QUICK_SIZES if stage.quick else SIZES:
        yield await _index(stage, size)


async def _index(stage: Stage, size: int) -> dict[str, Any]:
    name = f"sync{size}"
    await asyncio.to_thread(stage.mail.seed, f"{name}@bench.test", size)
    await asyncio.to_thread(_warm, stage, f"{name}@bench.test")
    announced = len(stage.sink.requests)
    async with stage.cost() as cost:
        started = time.monotonic()
        await asyncio.to_thread(stage.postbus.add_account, name, f"{name}@bench.test", stage.mail)
        while not await asyncio.to_thread(_is_complete, stage, name, size):
            await asyncio.sleep(0.01)
        seconds = time.monotonic() - started
    new = [request for request in stage.sink.requests[announced:] if request.json["event"] == "messageNew"]
    return {
        "messages": size,
        "seconds": round(seconds, 3),
        **cost,
        "announced": len(new),
        "memory_mb": stage.memory_mb(),
    }


def _warm(stage: Stage, user: str) -> None:
    """Let the mail server build its own index first: it is not what is measured."""
    client = stage.mail.imap_client(user)
    client.select("INBOX", readonly=True)
    client.fetch("1:*", "(FLAGS ENVELOPE BODYSTRUCTURE)")
    client.logout()


def _is_complete(stage: Stage, name: str, size: int) -> bool:
    api = stage.postbus.client
    if api.get(f"/v1/account/{name}").json()["state"] != "connected":
        return False
    mailboxes = api.get(f"/v1/account/{name}/mailboxes").json()["mailboxes"]
    return any(mailbox["path"] == "INBOX" and mailbox["messages"] == size for mailbox in mailboxes)
