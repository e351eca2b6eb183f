"""New mail to webhook: quiet, steady and in bursts. `floor` is what a bare IDLE client sees of the same mail server."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from tests.bench.stage import Stage, spread
from tests.servers import Answer

PATIENCE_S = 300.0


async def run(stage: Stage) -> AsyncIterator[dict[str, Any]]:
    """The floor, then one quiet account, one busy account, many accounts, bursts, and a slow receiver."""
    many = await stage.add_accounts(f"many{number}" for number in range(10 if stage.quick else 50))
    count, burst = (30, 200) if stage.quick else (150, 1000)
    yield {"what": "floor, 1 mail/s", **spread(await _floor(stage, 10 if stage.quick else 30))}
    yield {"what": "1 account, 0.4 mails/s", **spread(await _steady(stage, many[:1], 10, 0.4))}
    yield {"what": "1 account, 5 mails/s", **spread(await _steady(stage, many[:1], count, 5))}
    yield {"what": f"{len(many)} accounts, 5 mails/s", **spread(await _steady(stage, many, count, 5))}
    yield await _burst(stage, many[1:2], burst, "1 account")
    yield await _burst(stage, many, burst, f"{len(many)} accounts")
    stage.sink.default = Answer(delay_s=0.05)
    yield await _burst(stage, many, burst // 2, f"{len(many)} accounts, receiver takes 50 ms")
    stage.sink.default = Answer()


async def _steady(stage: Stage, accounts: Sequence[str], count: int, rate: float) -> list[float]:
    sent: dict[str, float] = {}
    for number in range(count):
        due = time.monotonic() + 1 / rate
        await asyncio.to_thread(deliver, stage, accounts[number % len(accounts)], f"<{time.time_ns()}@bench>", sent)
        await asyncio.sleep(due - time.monotonic())
    seen = await announced(stage, sent)
    return [seen[message_id] - at for message_id, at in sent.items()]


async def _burst(stage: Stage, accounts: Sequence[str], count: int, what: str) -> dict[str, Any]:
    sent: dict[str, float] = {}
    async with stage.cost() as cost:
        started = time.monotonic()
        await asyncio.gather(
            *(asyncio.to_thread(_deliver_some, stage, accounts, range(start, count, 4), sent) for start in range(4))
        )
        delivered = time.monotonic() - started
        seen = await announced(stage, sent)
        seconds = max(seen.values()) - started
    rate = {"webhooks_per_s": round(count / seconds, 1), "delivery_s": round(delivered, 2)}
    return {"what": f"burst of {count}, {what}", **rate, **cost, "memory_mb": stage.memory_mb()}


async def announced(stage: Stage, sent: dict[str, float]) -> dict[str, float]:
    """When each message was posted first."""
    seen: dict[str, float] = {}
    looked_at = 0
    deadline = time.monotonic() + PATIENCE_S
    while not sent.keys() <= seen.keys():
        assert time.monotonic() < deadline, f"{len(sent.keys() - seen.keys())} of {len(sent)} never announced"
        await asyncio.sleep(0.02)
        fresh = stage.sink.requests[looked_at:]
        looked_at += len(fresh)
        for request in fresh:
            if (body := request.json)["event"] == "messageNew":
                seen.setdefault(body["data"].get("messageId", ""), request.at)
    return seen


def _deliver_some(stage: Stage, accounts: Sequence[str], numbers: range, sent: dict[str, float]) -> None:
    for number in numbers:
        deliver(stage, accounts[number % len(accounts)], f"<{number}.{time.time_ns()}@bench>", sent)


def deliver(stage: Stage, account: str, message_id: str, sent: dict[str, float]) -> None:
    """Deliver a small message to an account; `sent` notes when."""
    to = f"{account}@bench.test"
    head = f"From: Sender <sender@bench.test>\r\nTo: {to}\r\nSubject: New mail\r\nMessage-ID: {message_id}\r\n"
    stage.mail.deliver(to, raw=f"{head}Content-Type: text/plain\r\n\r\n{'text ' * 300}\r\n".encode())
    sent[message_id] = time.monotonic()


async def _floor(stage: Stage, count: int) -> list[float]:
    """Seconds from delivery until a client that does nothing but IDLE reads EXISTS."""
    seen: list[float] = []
    ready, done = threading.Event(), threading.Event()
    watching = asyncio.create_task(asyncio.to_thread(_watch, stage, count, seen, ready, done))
    await asyncio.to_thread(ready.wait, PATIENCE_S)
    sent: dict[str, float] = {}
    for _ in range(count):
        await asyncio.to_thread(deliver, stage, "floor", f"<{time.time_ns()}@floor>", sent)
        await asyncio.sleep(1)
    done.set()
    await watching
    return [at - delivered for delivered, at in zip(sorted(sent.values()), seen, strict=False)]


def _watch(stage: Stage, count: int, seen: list[float], ready: threading.Event, done: threading.Event) -> None:
    client = stage.mail.imap_client("floor@bench.test")
    client.select("INBOX")
    client.send(b"x IDLE\r\n")
    client.readline()
    ready.set()
    while len(seen) < count and not done.is_set():
        if client.readline().rstrip().endswith(b"EXISTS"):
            seen.append(time.monotonic())
    client.shutdown()
