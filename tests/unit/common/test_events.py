"""The typed events: each is sealed as the contract says, reads back, and is never too large for the bus."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pydantic
import pytest

from postbus.common import ids
from postbus.common.events import (
    EVENT_NAMES,
    MAX_EVENT_BYTES,
    AccountAdded,
    AccountDeleted,
    AccountInfo,
    AccountInitialized,
    Address,
    AttachmentInfo,
    AttemptInfo,
    AuthenticationError,
    AuthenticationSuccess,
    Changes,
    ConnectError,
    DeliveryErrorInfo,
    EncodedSize,
    Event,
    FailedInfo,
    FlagChanges,
    InitializedInfo,
    ListedMailboxInfo,
    LoginErrorInfo,
    LoginInfo,
    MailboxDeleted,
    MailboxInfo,
    MailboxNew,
    MailboxReset,
    MailboxResetInfo,
    MessageChange,
    MessageDeleted,
    MessageDeliveryError,
    MessageFailed,
    MessageInfo,
    MessageMissing,
    MessageNew,
    MessageRef,
    MessageSent,
    MessageUpdated,
    MissingMessage,
    SentInfo,
    SmtpEnvelope,
    TextInfo,
    parse_event,
    seal_event,
)
from postbus.common.store.outbox import pack_event, unpack_event
from tests.contract.checker.check_webhook import body_faults

GENERATION = UUID(int=7)
AT = datetime(2026, 11, 25, 5, 9, 23, 123_000, UTC)
ENVELOPE = SmtpEnvelope(from_="a@example.com", to=["b@example.com"])
LOGIN_ERROR = LoginErrorInfo(response="Invalid credentials", server_response_code="AUTHENTICATIONFAILED")
MESSAGE = MessageInfo(
    id="AAAAAQAAAeE",
    uid=481,
    seems_like_new=True,
    email_id="1743d29c",
    date="2026-11-25T05:09:23.000Z",
    flags=["\\Seen"],
    unseen=True,
    size=1200,
    subject="Grüße",
    from_=Address(name="A", address="a@example.com"),
    sender=Address(name="A", address="a@example.com"),
    to=[Address(name="B", address="b@example.com")],
    message_id="<1@example.com>",
    headers={"x-a": ["1", "2"]},
    text=TextInfo(id="AAAAAQAAAeGTkaExkaEykA", encoded_size=EncodedSize(plain=5), plain="hello", has_more=False),
    attachments=[
        AttachmentInfo(id="x", content_type="a/b", encoded_size=4, filename="f", embedded=False, inline=False)
    ],
)
ALL: list[Event] = [
    MessageNew(account="a", date=AT, path="INBOX", special_use="\\Inbox", data=MESSAGE),
    MessageDeleted(account="a", date=AT, path="INBOX", data=MessageRef(id="AAAAAQAAAeE", uid=481)),
    MessageUpdated(
        account="a",
        date=AT,
        path="INBOX",
        data=MessageChange(
            id="AAAAAQAAAeE", uid=481, changes=Changes(flags=FlagChanges(added=["\\Seen"], value=["\\Seen"]))
        ),
    ),
    MessageMissing(
        account="a",
        date=AT,
        path="INBOX",
        data=MissingMessage(id="AAAAAQAAAeE", uid=481, missing_retries=5, missing_delay=300),
    ),
    MessageSent(
        account="a",
        date=AT,
        data=SentInfo(message_id="<1@e>", response="250 OK", queue_id="19aabbccdd0aabbccdd", envelope=ENVELOPE),
    ),
    MessageDeliveryError(
        account="a",
        date=AT,
        data=DeliveryErrorInfo(
            queue_id="19aabbccdd0aabbccdd",
            envelope=ENVELOPE,
            message_id="<1@e>",
            error="451 later",
            error_code="EENVELOPE",
            smtp_response="451 later",
            smtp_response_code=451,
            smtp_command="RCPT TO",
            job=AttemptInfo(id="1", attempts_made=1, attempts=10, next_attempt=AT),
        ),
    ),
    MessageFailed(
        account="a", date=AT, data=FailedInfo(message_id="<1@e>", queue_id="19aabbccdd0aabbccdd", error="no")
    ),
    MailboxNew(account="a", date=AT, path="A", data=ListedMailboxInfo(path="A", name="A", uid_validity="1")),
    MailboxDeleted(account="a", date=AT, path="A", data=MailboxInfo(path="A", name="A")),
    MailboxReset(
        account="a",
        date=AT,
        path="A",
        data=MailboxResetInfo(path="A", name="A", uid_validity="2", prev_uid_validity="1", reason="uidValidityChange"),
    ),
    AuthenticationError(account="a", date=AT, data=LOGIN_ERROR),
    AuthenticationSuccess(account="a", date=AT, data=LoginInfo(user="a@example.com")),
    ConnectError(account="a", date=AT, data=LOGIN_ERROR),
    AccountAdded(account="a", date=AT, data=AccountInfo(account="a")),
    AccountInitialized(account="a", date=AT, data=InitializedInfo()),
    AccountDeleted(account="a", date=AT, data=AccountInfo(account="a")),
]


def faults_of(body: dict[str, object]) -> list[str]:
    """What the contract says against the body, once webhooks have put `serviceUrl` in front."""
    return body_faults({"serviceUrl": None, **body})


def test_every_event_is_tried_here() -> None:
    assert {event.event for event in ALL} == set(EVENT_NAMES)


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.event)
def test_a_sealed_event_is_what_the_contract_says(event: Event) -> None:
    body = json.loads(seal_event(event, GENERATION, 1).body)
    assert faults_of(body) == []
    order = [name for name in ("account", "date", "path", "specialUse", "event", "data") if name in body]
    assert list(body) == order
    assert body["date"] == "2026-11-25T05:09:23.123Z"


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.event)
def test_a_sealed_event_reads_back(event: Event) -> None:
    assert parse_event(seal_event(event, GENERATION, 1).body) == event


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.event)
def test_fields_of_a_newer_publisher_are_ignored(event: Event) -> None:
    body = json.loads(seal_event(event, GENERATION).body)
    body["notKnownYet"] = body["data"]["notKnownYet"] = {"x": [1]}
    assert parse_event(json.dumps(body).encode()) == event


def test_an_event_that_nobody_knows_is_refused() -> None:
    with pytest.raises(pydantic.ValidationError):
        parse_event(b'{"account":"a","event":"messageFromTheFuture","data":{}}')


def test_an_envelope_says_where_the_event_goes_and_which_one_it_is() -> None:
    event = AccountAdded(account="Ü *.>", data=AccountInfo(account="Ü *.>"))
    sealed = seal_event(event, GENERATION, 3)
    token = ids.account_token("Ü *.>")
    assert sealed.subject == f"ee.events.{token}.accountAdded.{ids.shard_of(token)}"
    assert sealed.event_id == ids.event_id(GENERATION, "accountAdded", 3)
    assert sealed.event_id != seal_event(event, UUID(int=8), 3).event_id


def test_an_envelope_survives_the_outbox() -> None:
    sealed = seal_event(ALL[0], GENERATION, 1, 2, 3)
    assert unpack_event(pack_event(sealed)) == sealed


def test_a_text_that_is_too_large_becomes_an_id_to_fetch() -> None:
    text = TextInfo(id="T", encoded_size=EncodedSize(plain=10**6), plain="ä" * MAX_EVENT_BYTES, html="x")
    sealed = seal_event(
        MessageNew(account="a", path="INBOX", data=MESSAGE.model_copy(update={"text": text})), GENERATION
    )
    body = json.loads(sealed.body)
    assert len(sealed.body) <= MAX_EVENT_BYTES
    assert body["data"]["text"] == {"id": "T", "encodedSize": {"plain": 10**6}, "hasMore": True}
    assert "headers" not in body["data"]
    assert body["data"]["to"] == [{"name": "B", "address": "b@example.com"}]
    assert faults_of(body) == []


MANY_ADDRESSES = [Address(name="N" * 100, address=f"{number}@example.com") for number in range(10_000)]
MANY_RECIPIENTS = SmtpEnvelope(
    from_="a@example.com", to=[f"{number}@{'d' * 40}.example.com" for number in range(10_000)]
)
LONG = "5" * (2 * MAX_EVENT_BYTES)


@pytest.mark.parametrize(
    "event",
    [
        MessageNew(account="a", path="INBOX", data=MESSAGE.model_copy(update={"to": MANY_ADDRESSES})),
        MessageNew(account="a", path="INBOX", data=MESSAGE.model_copy(update={"subject": LONG})),
        MessageNew(
            account="a", path="INBOX", data=MESSAGE.model_copy(update={"flags": [str(n) for n in range(99_999)]})
        ),
        MessageSent(
            account="a", data=SentInfo(message_id="<1@e>", response="250", queue_id="1", envelope=MANY_RECIPIENTS)
        ),
        AuthenticationError(account="a", data=LOGIN_ERROR.model_copy(update={"response": LONG})),
        ConnectError(account="a", data=LOGIN_ERROR.model_copy(update={"response": "\0" * MAX_EVENT_BYTES})),
    ],
    ids=["recipients", "subject", "flags", "envelope", "server text", "escaped text"],
)
def test_nothing_a_stranger_wrote_makes_an_event_too_large(event: Event) -> None:
    sealed = seal_event(event, GENERATION)
    assert len(sealed.body) <= MAX_EVENT_BYTES
    assert faults_of(json.loads(sealed.body)) == []
    assert parse_event(sealed.body).account == "a"
