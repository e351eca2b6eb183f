"""What was given up: the event with the reason, in the stream DLQ as `ee.dlq.webhook.<event id>`."""

from __future__ import annotations

import msgspec

from postbus.common.bus.connection import Bus
from postbus.webhooks.event_log import LoggedEvent
from postbus.webhooks.records import ROUTE, LaneRecord


class DeadLetter(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One event nobody took. Times are Unix seconds; `body` is the event as it is in the log."""

    reason: str
    last_error: str
    event_id: str
    event: str
    account: str
    route: str
    attempts: int
    logged: float
    first_failure: float
    given_up: float
    body: msgspec.Raw


async def bury(bus: Bus, event: LoggedEvent, record: LaneRecord, now: float) -> None:
    """Keep an event that is given up; Unavailable when the bus is away. Again is fine: it is stored once."""
    letter = DeadLetter(
        reason="nobody took the event in its time",
        last_error=record.reason,
        event_id=event.event_id,
        event=event.event,
        account=event.token,
        route=ROUTE,
        attempts=record.attempt,
        logged=event.at,
        first_failure=record.first_failure,
        given_up=now,
        body=msgspec.Raw(event.body or b"null"),
    )
    headers = {"Nats-Msg-Id": f"webhook:{ROUTE}:{event.event_id}"}
    await bus.publish(f"ee.dlq.webhook.{_token(event.event_id)}", msgspec.json.encode(letter), headers)


def _token(event_id: str) -> str:
    """An event id is a UUID; what a stranger put there instead must not become part of a subject."""
    return "".join(char if char.isascii() and (char.isalnum() or char == "-") else "_" for char in event_id)[:64]
