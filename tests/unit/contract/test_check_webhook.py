"""Deliveries made from the contract pass, and whatever is spoiled in them is noticed."""

import base64
import copy
import json
from typing import Any

import pytest

from tests.contract import assert_deliveries_fit
from tests.contract.checker.check_webhook import body_faults, judge, load_contract
from tests.contract.checker.payload_types import ListOf, MapOf, Record, Type, Union, Word, member_of
from tests.contract.checker.webhook_headers import sign

SECRET = "a service secret"
EVENT_ID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
EVENTS = sorted(load_contract().events)
WORDS: dict[str, Any] = {
    "any": 1,
    "string": "text",
    "int": 7,
    "bool": False,
    "true": True,
    "false": False,
    "null": None,
    "object": {},
    "ISO8601": "2024-05-01T10:00:00.000Z",
    "Address": {"name": "", "address": "someone@example.com"},
}


def _example(kind: Type) -> Any:
    """A value of a type, with all optional members."""
    match kind:
        case Word(name):
            return copy.deepcopy(WORDS[name])
        case ListOf(item):
            return [_example(item)]
        case MapOf(item):
            return {"x-key": _example(item)}
        case Union(options):
            return _example(options[-1])
        case Record(members):
            return {member.name: _example(member.type) for member in members}


def _payload(event: str) -> dict[str, Any]:
    """A body that fits the contract."""
    contract = load_contract()
    data = _example(Record(contract.events[event]))
    return {**_example(Record(contract.envelope)), "event": event, "data": data}


def _delivery(body: Any, drop: str = "", **changes: str) -> dict[str, Any]:
    """A delivery with headers as they should be unless changed or dropped."""
    text = json.dumps(body)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "postbus/0.1.0 (+https://example.com)",
        "Content-Length": str(len(text.encode())),
        "X-EE-Wh-Id": "17",
        "X-EE-Wh-Attempts-Made": "0",
        "X-EE-Wh-Queued-Time": "3s",
        "X-EE-Wh-Event-Id": EVENT_ID,
        "X-EE-Wh-Signature": sign(text.encode(), SECRET),
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    headers.pop(drop, None)
    return {"headers": headers, "body": text}


def _faults(delivery: dict[str, Any]) -> list[str]:
    [verdict] = judge([delivery], SECRET)
    return verdict.faults


def test_all_24_events_pass_as_the_contract_words_them() -> None:
    assert len(EVENTS) == 24
    assert_deliveries_fit([_delivery(_payload(event)) for event in EVENTS], SECRET)


@pytest.mark.parametrize("event", EVENTS)
def test_each_member_is_checked_for_presence_and_type(event: str) -> None:
    for member in load_contract().events[event]:
        without, spoiled = _payload(event), _payload(event)
        del without["data"][member.name]
        assert body_faults(without) == ([] if member.optional else [f"data.{member.name}: missing"])
        spoiled["data"][member.name] = 3.5
        [fault] = body_faults(spoiled)
        assert fault.startswith(f"data.{member.name}: ")


def test_faults_deep_inside_are_named() -> None:
    body = _payload("messageNew")
    body["data"]["attachments"][0]["encodedSize"] = "12"
    body["data"]["to"][0] = {"name": "nobody"}
    assert sorted(body_faults(body)) == [
        "data.attachments[0].encodedSize: int expected, got string '12'",
        "data.to[0].address: missing",
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"date": "2024-05-01T12:00:00+02:00"}, "date: UTC expected, got '2024-05-01T12:00:00+02:00'"),
        ({"account": None}, "account: string expected, got null None"),
        ({"event": "messageNw"}, "event: 'messageNw' is not in the contract"),
        ({"eventId": EVENT_ID}, "eventId: belongs into the header X-EE-Wh-Event-Id only"),
        ({"data": []}, "data: object expected, got array []"),
    ],
)
def test_the_envelope(change: dict[str, Any], fault: str) -> None:
    assert body_faults({**_payload("messageSent"), **change}) == [fault]


def test_only_mailbox_events_need_a_path() -> None:
    for event, expected in (
        ("messageSent", []),
        ("messageNew", ["path: missing, the event is bound to a mailbox"]),
    ):
        body = _payload(event)
        del body["path"], body["specialUse"]
        assert body_faults(body) == expected


def test_a_custom_route_may_rewrite_the_payload() -> None:
    assert _faults(_delivery({"text": "hello"}, X_EE_Wh_Custom_Route="route1")) == []


def test_a_body_that_is_not_json_is_a_fault() -> None:
    assert _faults({"headers": {}, "body": "{"}) != []


def test_each_wanted_header_is_missed() -> None:
    body = _payload("messageSent")
    for name in _delivery(body)["headers"]:
        assert f"{name.lower()}: missing" in _faults(_delivery(body, drop=name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Type", "text/plain"),
        ("User-Agent", "postbus"),
        ("X-EE-Wh-Attempts-Made", "-1"),
        ("X-EE-Wh-Queued-Time", "3"),
        ("X-EE-Wh-Event-Id", "17"),
        ("X-EE-Wh-Signature", sign(b"other", SECRET)),
        ("Authorization", "Bearer abc"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "1"),
    ],
)
def test_malformed_headers_are_named(name: str, value: str) -> None:
    found = _faults(_delivery(_payload("messageSent"), **{name.replace("-", "_"): value}))
    assert found
    assert all(fault.startswith(name.lower()) for fault in found)


def test_the_signature_is_hmac_sha256_as_in_rfc_4231_test_case_2() -> None:
    expected = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    assert base64.urlsafe_b64decode(sign(b"what do ya want for nothing?", "Jefe") + "=") == expected


def test_a_retry_keeps_its_event_id() -> None:
    body = _payload("messageSent")
    other = _delivery(body, X_EE_Wh_Event_Id="00000000-0000-4000-8000-000000000000")
    assert [len(v.faults) for v in judge([_delivery(body), _delivery(body), other], SECRET)] == [0, 0, 1]


@pytest.mark.parametrize(
    ("notation", "optional"),
    [
        ("string", False),
        ("string?", True),
        ("string (API backends/extended)", True),
        ("string, only for folder-bound events", True),
        ("bool (2)", False),
        ("{added?:string[],value:string[] (2)}?", True),
    ],
)
def test_marks_and_remarks_of_the_notation(notation: str, optional: bool) -> None:
    assert member_of("x", notation).optional is optional
