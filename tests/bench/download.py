"""A big download, read slowly, beside everything else of the same account: does new mail or a listing notice?"""

import asyncio
import base64
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.bench.notify import announced, deliver
from tests.bench.stage import Stage, spread

SIZE, QUICK_SIZE = 200 * 1024 * 1024, 20 * 1024 * 1024  # bytes of the message
RATE = 1024 * 1024  # bytes a second that the reader takes
SIP = 64 * 1024
LISTING_GAP_S = 0.05
LINES = 57 * 1024  # bytes that become whole lines of base64


async def run(stage: Stage) -> AsyncIterator[dict[str, Any]]:
    """New-mail latency and time of a listing: alone, beside the download, and alone again."""
    size, mails = (QUICK_SIZE, 10) if stage.quick else (SIZE, 60)
    await asyncio.to_thread(stage.mail.seed, "big@bench.test", 200)
    await asyncio.to_thread(_append_big, stage, size)
    [account] = await stage.add_accounts(["big"])
    base = f"{stage.postbus.url}/v1/account/{account}"
    newest = stage.postbus.client.get(f"{base}/messages?path=INBOX&pageSize=1").json()["messages"][0]
    url = f"{base}/attachment/{newest['attachments'][0]['id']}"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        yield {"what": "alone", **await _measure(stage, session, base, account, mails)}
        memory = stage.memory_mb()
        async with _downloading(session, url) as taken:
            beside = await _measure(stage, session, base, account, mails)
            more = {"downloaded_mb": round(taken[0] / RATE, 1), "extra_memory_mb": round(stage.memory_mb() - memory, 1)}
        yield {"what": f"beside a download of {size // RATE} MB at 1 MB/s", **beside, **more}
        yield {"what": "alone again", **await _measure(stage, session, base, account, mails)}


async def _measure(
    stage: Stage, session: aiohttp.ClientSession, base: str, account: str, mails: int
) -> dict[str, dict[str, float]]:
    listed: list[float] = []
    listing = asyncio.create_task(_list(session, f"{base}/messages?path=INBOX", listed))
    sent: dict[str, float] = {}
    draw = random.Random(1)
    for _ in range(mails):
        await asyncio.to_thread(deliver, stage, account, f"<{time.time_ns()}@bench>", sent)
        await asyncio.sleep(draw.uniform(1.0, 2.0))  # in no step with the server's own timers
    seen = await announced(stage, sent)
    listing.cancel()
    await asyncio.gather(listing, return_exceptions=True)
    return {"new_mail": spread([seen[message_id] - at for message_id, at in sent.items()]), "list": spread(listed)}


async def _list(session: aiohttp.ClientSession, url: str, taken: list[float]) -> None:
    while True:
        started = time.monotonic()
        async with session.get(url) as answer:
            await answer.read()
            assert answer.status == 200, await answer.text()
        taken.append(time.monotonic() - started)
        await asyncio.sleep(LISTING_GAP_S)


@asynccontextmanager
async def _downloading(session: aiohttp.ClientSession, url: str) -> AsyncIterator[list[int]]:
    """A reader that takes `RATE` bytes a second while the block runs; yields how many it has so far."""
    taken = [0]

    async def read() -> None:
        started = time.monotonic()
        async with session.get(url) as answer:
            assert answer.status == 200, await answer.text()
            while data := await answer.content.read(SIP):
                taken[0] += len(data)
                await asyncio.sleep(started + taken[0] / RATE - time.monotonic())

    reading = asyncio.create_task(read())
    try:
        yield taken
        assert not reading.done() or reading.exception() is None, "the download failed"
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _append_big(stage: Stage, size: int) -> None:
    lines = base64.encodebytes(os.urandom(LINES)).replace(b"\n", b"\r\n")
    head = (
        b"From: a@bench.test\r\nSubject: big\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain\r\n\r\nhere it is\r\n--b\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Disposition: attachment; filename=big.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    client = stage.mail.imap_client("big@bench.test", port=stage.mail.info["imap_direct"])
    status, answer = client.append("INBOX", "", "", head + lines * (size // len(lines)) + b"--b--\r\n")
    assert status == "OK", answer
    client.logout()
