"""Whether captured webhook deliveries fit the contract: payload, headers, length, signature.

Fields that the contract words without `?` have to be there; members marked `(2)` inside `{...}` may be absent.
Deliveries of custom routes, whose script may rewrite the payload, are checked for headers only.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.contract.checker.facts import WEBHOOKS
from tests.contract.checker.payload_types import Member, faults, member_of, record_faults
from tests.contract.checker.webhook_headers import CUSTOM_ROUTE, EVENT_ID, JOB_ID, header_faults

UNREADABLE = "(unreadable)"
MAILBOX_BOUND = frozenset(  # events whose envelope names the path
    {
        "messageNew",
        "messageDeleted",
        "messageUpdated",
        "messageMissing",
        "mailboxNew",
        "mailboxDeleted",
        "mailboxReset",
    }
)


@dataclass(frozen=True, slots=True)
class Contract:
    """What a payload has to look like."""

    envelope: tuple[Member, ...]
    events: dict[str, tuple[Member, ...]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One captured request."""

    headers: dict[str, str]  # names in lower case
    body: Any
    raw_body: bytes


@dataclass(slots=True)
class Verdict:
    """What was found in one delivery."""

    number: int  # from 1
    event: str
    faults: list[str] = field(default_factory=list)


@cache
def load_contract() -> Contract:
    """The facts, parsed."""
    shapes = json.loads(WEBHOOKS.read_text(encoding="utf-8"))
    events = {name: shape["data"] for name, shape in shapes.items() if not name.startswith("_")}
    return Contract(
        envelope=_members(shapes["_envelope"]["fields"]),
        events={name: _members(data) for name, data in events.items()},
    )


def judge(deliveries: Iterable[dict[str, Any]], secret: str | None = None) -> list[Verdict]:
    """One verdict per delivery `{"headers": {...}, "body": "text"}`; with a secret the signature is checked."""
    event_id_of_job: dict[str, str] = {}
    verdicts = []
    for number, captured in enumerate(deliveries, 1):
        try:
            delivery = _parse_delivery(captured)
        except ValueError as error:
            verdicts.append(Verdict(number, UNREADABLE, [str(error)]))
            continue
        verdict = _judge_body(number, delivery)
        verdict.faults += header_faults(delivery.headers, delivery.raw_body, secret)
        verdict.faults += _retry_faults(delivery.headers, event_id_of_job)
        verdicts.append(verdict)
    return verdicts


def body_faults(body: dict[str, Any]) -> list[str]:
    """What is wrong with a parsed body alone, as it also goes to event subscribers."""
    event = body.get("event")
    if not isinstance(event, str):
        return ["event: missing or not a string"]
    return [*_envelope_faults(body), *_data_faults(event, body)]


def _members(notations: dict[str, Any]) -> tuple[Member, ...]:
    return tuple(member_of(name, notation) for name, notation in notations.items())


def _parse_delivery(captured: dict[str, Any]) -> Delivery:
    headers = {str(name).lower(): str(value).strip() for name, value in captured["headers"].items()}
    raw_body = captured["body"].encode()
    return Delivery(headers, json.loads(raw_body), raw_body)


def _judge_body(number: int, delivery: Delivery) -> Verdict:
    body = delivery.body
    if CUSTOM_ROUTE in delivery.headers:
        return Verdict(number, "(custom route)")
    if not isinstance(body, dict):
        return Verdict(number, UNREADABLE, ["the body is not a JSON object"])
    return Verdict(number, str(body.get("event", UNREADABLE)), body_faults(body))


def _envelope_faults(body: dict[str, Any]) -> Iterator[str]:
    yield from (fault.removeprefix(".") for fault in record_faults(load_contract().envelope, body, ""))
    if isinstance(body.get("date"), str) and not body["date"].endswith(("Z", "+00:00")):
        yield f"date: UTC expected, got {body['date']!r}"
    if "path" not in body and body["event"] in MAILBOX_BOUND:
        yield "path: missing, the event is bound to a mailbox"
    if "eventId" in body:
        yield "eventId: belongs into the header X-EE-Wh-Event-Id only"


def _data_faults(event: str, body: dict[str, Any]) -> Iterator[str]:
    events = load_contract().events
    if event not in events:
        yield f"event: {event!r} is not in the contract"
    elif isinstance(body.get("data"), dict):
        for member in events[event]:
            yield from _member_faults(member, body["data"])


def _member_faults(member: Member, data: dict[str, Any]) -> Iterator[str]:
    if member.name in data:
        yield from faults(member.type, data[member.name], f"data.{member.name}")
    elif not member.optional:
        yield f"data.{member.name}: missing"


def _retry_faults(headers: dict[str, str], event_id_of_job: dict[str, str]) -> Iterator[str]:
    """A repeated job carries the event id of its first attempt."""
    job, event_id = headers.get(JOB_ID), headers.get(EVENT_ID)
    if job and event_id and event_id_of_job.setdefault(job, event_id) != event_id:
        yield f"{EVENT_ID}: differs from an earlier attempt of job {job}"
