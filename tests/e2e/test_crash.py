"""Nothing is lost and nothing repeats when every process is killed in the middle of arriving and leaving mail."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.js.api import ConsumerConfig, DeliverPolicy

from postbus.common.bus.connection import BusAddress, connect_bus
from tests.e2e.running import RunningPostbus
from tests.mailserver import MailServer
from tests.servers import NatsServer, WebhookSink

pytestmark = pytest.mark.anyio

ARRIVALS = 300
SUBMISSIONS = 200
ACCOUNTS = tuple(f"crash-{number}" for number in range(4))
RECIPIENTS = tuple(f"crash-to-{number}@example.test" for number in range(4))
PATIENCE_S = 120.0


async def test_kill_9_of_everything_in_mid_flight_loses_nothing_and_repeats_nothing(mail: MailServer) -> None:
    async with WebhookSink() as sink:
        settings = json.dumps({"webhooks": sink.url, "notifyText": False})
        with RunningPostbus(env={"EENGINE_SETTINGS": settings}) as postbus:
            await asyncio.to_thread(_register_all, postbus, mail)
            accepted = await _live_through_a_crash(postbus, mail, sink)
            await _until(lambda: len(_arrivals(sink)) >= ARRIVALS, "every arrival posted", postbus)
            await _until(lambda: _settled(sink) >= accepted, "every submission settled", postbus)
            assert await asyncio.to_thread(postbus.stop) == 0
            logged = await _events_in_log(postbus.data / "nats")
    _assert_one_event_an_arrival(sink, logged)
    _assert_delivered_once_or_flagged(sink, mail, accepted)


def _register_all(postbus: RunningPostbus, mail: MailServer) -> None:
    for account in ACCOUNTS:
        postbus.add_account(account, f"{account}@example.test", mail)
    for account in ACCOUNTS:
        postbus.wait_connected(account)


async def _live_through_a_crash(postbus: RunningPostbus, mail: MailServer, sink: WebhookSink) -> set[str]:
    """Mail arrives and is submitted all the time; in the middle everything is killed. Returns accepted queue ids."""
    with _arriving(mail):
        async with httpx.AsyncClient(base_url=postbus.url, timeout=20) as api:
            accepted: set[str] = set()
            submitting = asyncio.create_task(_submit_all(api, accepted))
            enough = SUBMISSIONS // 3
            await _until(lambda: len(accepted) > enough and len(_arrivals(sink)) > enough, "mid-flight", postbus)
            assert await asyncio.to_thread(postbus.kill_everything) >= 8
            await asyncio.to_thread(postbus.start)
            await submitting
    assert len(accepted) > SUBMISSIONS * 0.8
    return accepted


@contextmanager
def _arriving(mail: MailServer) -> Iterator[None]:
    """Deliver all arrivals from a thread; leaving the block waits for the last."""

    def deliver() -> None:
        for number in range(ARRIVALS):
            to = f"{ACCOUNTS[number % len(ACCOUNTS)]}@example.test"
            mail.deliver(to, raw=_arrival(number, to))
            time.sleep(0.01)

    thread = threading.Thread(target=deliver)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _arrival(number: int, to: str) -> bytes:
    lines = [
        "From: sender@example.test",
        f"To: {to}",
        f"Subject: arrival {number}",
        f"Message-ID: <in-{number}@a.test>",
    ]
    return "\r\n".join([*lines, "", "text", ""]).encode()


async def _submit_all(api: httpx.AsyncClient, accepted: set[str]) -> None:
    numbers = iter(range(SUBMISSIONS))

    async def submit_some() -> None:
        for number in numbers:
            await _submit(api, number, accepted)

    await asyncio.gather(*(submit_some() for _ in range(4)))


async def _submit(api: httpx.AsyncClient, number: int, accepted: set[str]) -> None:
    """Once: what fails is not tried again, since nobody knows what became of it. Waits while nobody listens."""
    body = {
        "to": [{"address": RECIPIENTS[number % len(RECIPIENTS)]}],
        "subject": f"submission {number}",
        "text": "text",
        "messageId": f"<out-{number}@a.test>",
    }
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            answer = await api.post(f"/v1/account/{ACCOUNTS[number % len(ACCOUNTS)]}/submit", json=body)
        except httpx.ConnectError:
            await asyncio.sleep(0.05)
            continue
        except httpx.TransportError:
            return
        if answer.status_code == 200:
            accepted.add(answer.json()["queueId"])
        return


def _posted(sink: WebhookSink, event: str) -> list[tuple[str, dict[str, Any]]]:
    """Event id and body of every webhook of this event."""
    bodies = [(request.headers["x-ee-wh-event-id"], request.json) for request in sink.requests]
    return [(event_id, body) for event_id, body in bodies if body["event"] == event]


def _arrivals(sink: WebhookSink) -> set[str]:
    return {body["data"]["messageId"] for _, body in _posted(sink, "messageNew") if _is_arrival(body)}


def _is_arrival(body: dict[str, Any]) -> bool:
    return str(body["data"].get("messageId", "")).startswith("<in-")


def _settled(sink: WebhookSink) -> set[str]:
    ended = [*_posted(sink, "messageSent"), *_posted(sink, "messageFailed")]
    return {str(body["data"]["queueId"]) for _, body in ended}


async def _events_in_log(store: Path) -> list[tuple[str, dict[str, Any]]]:
    """Event id and body of everything in EVENTS, read by a NATS server of our own from what is on disk."""
    with NatsServer(store=store) as server:
        bus = await connect_bus(BusAddress(server.url), service="test")
        js = bus.js
        count = (await js.stream_info("EVENTS")).state.messages
        reader = await js.pull_subscribe(
            "ee.events.>", stream="EVENTS", config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
        )
        events: list[tuple[str, dict[str, Any]]] = []
        while len(events) < count:
            events += [
                ((m.headers or {})["Ee-Event-Id"], json.loads(m.data)) for m in await reader.fetch(500, timeout=5)
            ]
        await bus.close()
    return events


def _assert_one_event_an_arrival(sink: WebhookSink, logged: Sequence[tuple[str, dict[str, Any]]]) -> None:
    arrivals = [(event_id, body) for event_id, body in logged if body["event"] == "messageNew" and _is_arrival(body)]
    per_message = Counter(body["data"]["messageId"] for _, body in arrivals)
    assert per_message == {f"<in-{number}@a.test>": 1 for number in range(ARRIVALS)}
    posted = {
        (event_id, body["data"]["messageId"]) for event_id, body in _posted(sink, "messageNew") if _is_arrival(body)
    }
    assert posted == {(event_id, body["data"]["messageId"]) for event_id, body in arrivals}


def _assert_delivered_once_or_flagged(sink: WebhookSink, mail: MailServer, accepted: set[str]) -> None:
    failed = {body["data"]["queueId"]: body["data"] for _, body in _posted(sink, "messageFailed")}
    assert all(failure["outcome"] == "uncertain" for failure in failed.values())
    flagged = {failure["messageId"] for failure in failed.values()}
    sent = {body["data"]["messageId"] for _, body in _posted(sink, "messageSent")}
    arrived = Counter(
        line.split(b":", 1)[1].strip().decode()
        for recipient in RECIPIENTS
        for message in mail.messages(recipient)
        for line in message.split(b"\r\n\r\n", 1)[0].replace(b"\n", b"\r\n").split(b"\r\n")
        if line.lower().startswith(b"message-id:")
    )
    assert sent <= arrived.keys()
    assert {message_id for message_id, count in arrived.items() if count > 1} <= flagged


async def _until(condition: Callable[[], bool], what: str, postbus: RunningPostbus) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}\n{postbus.log_tail()}"
        await asyncio.sleep(0.1)
