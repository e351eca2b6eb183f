"""The typed events: one model each, and one serialiser for NATS, SSE and webhooks (contract, `webhooks.json`).

The body is the same everywhere; a webhook adds `serviceUrl` in front. The event id travels beside it and is also the
`Nats-Msg-Id`: it is made of the account's generation and what happened, so the same happening is stored once, and a
re-created account starts anew. Publishers may be newer than readers: unknown fields are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from postbus.common import ids
from postbus.common.event_limits import cut_body
from postbus.common.times import Instant, now

MAX_EVENT_BYTES = 256 * 1024  # what is over becomes an id to fetch


def _is_none(value: object) -> bool:
    return value is None


class Data(BaseModel):
    """Base of everything inside `data`: frozen, camelCase outside, tolerant of newer publishers."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Address(Data):
    """One mail address; the name may be empty."""

    name: str = ""
    address: str


class AttachmentInfo(Data):
    """One attachment of a message, without its content."""

    id: str
    content_type: str
    encoded_size: int
    filename: str | None = Field(None, exclude_if=_is_none)
    embedded: bool
    inline: bool
    content_id: str | None = Field(None, exclude_if=_is_none)
    encoded_in_message: bool | None = Field(None, exclude_if=_is_none)
    method: str | None = Field(None, exclude_if=_is_none)


class EncodedSize(Data):
    """Bytes of the text parts as transferred."""

    plain: int | None = Field(None, exclude_if=_is_none)
    html: int | None = Field(None, exclude_if=_is_none)


class TextInfo(Data):
    """The text of a message: an id to fetch it by, its size, and the text itself where it was asked for."""

    id: str
    encoded_size: EncodedSize
    plain: str | None = Field(None, exclude_if=_is_none)
    html: str | None = Field(None, exclude_if=_is_none)
    has_more: bool | None = Field(None, exclude_if=_is_none)
    web_safe: bool | None = Field(None, exclude_if=_is_none)  # the HTML was made safe to show


class MessageInfo(Data):
    """A message as listings, the message itself and `messageNew` show it (contract, section 7)."""

    id: str
    uid: int
    path: str | None = Field(None, exclude_if=_is_none)
    email_id: str | None = Field(None, exclude_if=_is_none)
    thread_id: str | None = Field(None, exclude_if=_is_none)
    date: str | None = Field(None, exclude_if=_is_none)
    flags: list[str]
    labels: list[str] | None = Field(None, exclude_if=_is_none)
    unseen: bool | None = Field(None, exclude_if=_is_none)
    flagged: bool | None = Field(None, exclude_if=_is_none)
    answered: bool | None = Field(None, exclude_if=_is_none)
    draft: bool | None = Field(None, exclude_if=_is_none)
    size: int
    subject: str | None = Field(None, exclude_if=_is_none)
    from_: Address | None = Field(None, alias="from", exclude_if=_is_none)
    reply_to: list[Address] | None = Field(None, exclude_if=_is_none)
    sender: Address | None = Field(None, exclude_if=_is_none)
    to: list[Address] | None = Field(None, exclude_if=_is_none)
    cc: list[Address] | None = Field(None, exclude_if=_is_none)
    bcc: list[Address] | None = Field(None, exclude_if=_is_none)
    attachments: list[AttachmentInfo] | None = Field(None, exclude_if=_is_none)
    message_id: str | None = Field(None, exclude_if=_is_none)
    in_reply_to: str | None = Field(None, exclude_if=_is_none)
    headers: dict[str, list[str]] | None = Field(None, exclude_if=_is_none)
    text: TextInfo | None = Field(None, exclude_if=_is_none)
    special_use: str | None = Field(None, exclude_if=_is_none)
    message_special_use: str | None = Field(None, exclude_if=_is_none)
    seems_like_new: bool | None = Field(None, exclude_if=_is_none)


class MessageRef(Data):
    """Which message, where only that is left to say."""

    id: str
    uid: int


class FlagChanges(Data):
    """What became of the flags: `value` is all of them after the change."""

    added: list[str] | None = Field(None, exclude_if=_is_none)
    deleted: list[str] | None = Field(None, exclude_if=_is_none)
    value: list[str]


class Changes(Data):
    """What of the message changed."""

    flags: FlagChanges | None = Field(None, exclude_if=_is_none)
    labels: FlagChanges | None = Field(None, exclude_if=_is_none)


class MessageChange(MessageRef):
    """A message and its changes."""

    changes: Changes


class MissingMessage(MessageRef):
    """A message that was listed but could not be fetched after `missing_retries` tries over `missing_delay` ms."""

    missing_retries: int
    missing_delay: int


class MailboxInfo(Data):
    """A mailbox in an event; `special_use` is False where it has none."""

    path: str
    name: str
    special_use: str | Literal[False] = False


class ListedMailboxInfo(MailboxInfo):
    """A mailbox that exists: its UIDVALIDITY as text."""

    uid_validity: str


class MailboxResetInfo(MailboxInfo):
    """A mailbox whose uids lost their meaning."""

    uid_validity: str | Literal[False]
    prev_uid_validity: str | Literal[False]
    reason: Literal["uidValidityChange", "syncStateLost"]


class SmtpEnvelope(Data):
    """MAIL FROM and RCPT TO of a delivery."""

    from_: str = Field(alias="from")
    to: list[str]


class NetworkRouting(Data):
    """Which way a delivery went, where it was not the default way."""

    local_address: str | None = Field(None, exclude_if=_is_none)
    proxy: str | None = Field(None, exclude_if=_is_none)
    name: str | None = Field(None, exclude_if=_is_none)
    requested_local_address: str | None = Field(None, exclude_if=_is_none)


class SentInfo(Data):
    """A message an MTA accepted; `response` is its words."""

    message_id: str
    original_message_id: str | None = Field(None, exclude_if=_is_none)
    response: str
    queue_id: str
    envelope: SmtpEnvelope
    network_routing: NetworkRouting | None = None


class AttemptInfo(Data):
    """Where the retries of a submission stand. `next_attempt` is False after the last one."""

    id: str
    attempts_made: int
    attempts: int
    next_attempt: Instant | Literal[False]


class DeliveryErrorInfo(Data):
    """One failed attempt to deliver, with the SMTP conversation's answer where there was one."""

    queue_id: str
    envelope: SmtpEnvelope
    message_id: str
    error: str
    error_code: str
    smtp_response: str | None = Field(None, exclude_if=_is_none)
    smtp_response_code: int | None = Field(None, exclude_if=_is_none)
    smtp_command: str | None = Field(None, exclude_if=_is_none)
    job: AttemptInfo
    network_routing: NetworkRouting | None = None


class FailedInfo(Data):
    """A submission that was given up; `outcome` is `uncertain` where the peer may have accepted it unheard."""

    message_id: str
    queue_id: str
    error: str
    outcome: Literal["failed", "uncertain"] = "failed"
    network_routing: NetworkRouting | None = None


class LoginErrorInfo(Data):
    """Why an account can't connect: the server's text and its code (an IMAP code, HTTPRequestError, ETIMEDOUT ...)."""

    response: str
    server_response_code: str


class LoginInfo(Data):
    """Who logged in."""

    user: str


class AccountInfo(Data):
    """Which account."""

    account: str


class InitializedInfo(Data):
    """The account finished its first sync."""

    initialized: Literal[True] = True


class Event(BaseModel):
    """Base of all events: what every body carries, in the order it is written."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    account: str
    date: Instant = Field(default_factory=now)
    path: str | None = Field(None, exclude_if=_is_none, description="mailbox, for events that happen in one")
    special_use: str | None = Field(None, exclude_if=_is_none)
    event: str
    data: Any


class MessageNew(Event):
    """A message appeared in a synced mailbox."""

    event: Literal["messageNew"] = "messageNew"
    path: str
    data: MessageInfo


class MessageDeleted(Event):
    """A known message vanished from its mailbox; the source side of a move counts."""

    event: Literal["messageDeleted"] = "messageDeleted"
    path: str
    data: MessageRef


class MessageUpdated(Event):
    """Flags or labels of a known message changed."""

    event: Literal["messageUpdated"] = "messageUpdated"
    path: str
    data: MessageChange


class MessageMissing(Event):
    """A message was listed, but the server would not give it."""

    event: Literal["messageMissing"] = "messageMissing"
    path: str
    data: MissingMessage


class MessageSent(Event):
    """An MTA accepted a submission."""

    event: Literal["messageSent"] = "messageSent"
    data: SentInfo


class MessageDeliveryError(Event):
    """One attempt to deliver failed; it may be retried."""

    event: Literal["messageDeliveryError"] = "messageDeliveryError"
    data: DeliveryErrorInfo


class MessageFailed(Event):
    """A submission was given up."""

    event: Literal["messageFailed"] = "messageFailed"
    data: FailedInfo


class MailboxNew(Event):
    """A mailbox that was not known finished its first sync."""

    event: Literal["mailboxNew"] = "mailboxNew"
    path: str
    data: ListedMailboxInfo


class MailboxDeleted(Event):
    """A known mailbox is no longer listed."""

    event: Literal["mailboxDeleted"] = "mailboxDeleted"
    path: str
    data: MailboxInfo


class MailboxReset(Event):
    """UIDVALIDITY changed, or the index was lost: known ids are void, the mailbox was indexed again in silence."""

    event: Literal["mailboxReset"] = "mailboxReset"
    path: str
    data: MailboxResetInfo


class AuthenticationError(Event):
    """Login was refused; the first of a run of equal refusals."""

    event: Literal["authenticationError"] = "authenticationError"
    data: LoginErrorInfo


class AuthenticationSuccess(Event):
    """First login, or first after an error."""

    event: Literal["authenticationSuccess"] = "authenticationSuccess"
    data: LoginInfo


class ConnectError(Event):
    """Connecting failed before login; the first of a run of equal failures."""

    event: Literal["connectError"] = "connectError"
    data: LoginErrorInfo


class AccountAdded(Event):
    """An account was registered."""

    event: Literal["accountAdded"] = "accountAdded"
    data: AccountInfo


class AccountInitialized(Event):
    """An account became connected for the first time."""

    event: Literal["accountInitialized"] = "accountInitialized"
    data: InitializedInfo


class AccountDeleted(Event):
    """An account was removed."""

    event: Literal["accountDeleted"] = "accountDeleted"
    data: AccountInfo


AnyEvent = Annotated[
    MessageNew
    | MessageDeleted
    | MessageUpdated
    | MessageMissing
    | MessageSent
    | MessageDeliveryError
    | MessageFailed
    | MailboxNew
    | MailboxDeleted
    | MailboxReset
    | AuthenticationError
    | AuthenticationSuccess
    | ConnectError
    | AccountAdded
    | AccountInitialized
    | AccountDeleted,
    Field(discriminator="event"),
]
EVENT_NAMES: tuple[str, ...] = tuple(
    model.model_fields["event"].default
    for model in AnyEvent.__origin__.__args__  # type: ignore[attr-defined]
)
_ADAPTER: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event ready to be published: its id, what subject and headers need, and its body."""

    event_id: UUID
    token: str
    account: str
    event: str
    body: bytes

    @property
    def subject(self) -> str:
        """`ee.events.<acct>.<event>.<shard>`."""
        return f"ee.events.{self.token}.{self.event}.{ids.shard_of(self.token)}"


def seal_event(event: Event, generation: UUID, *what: object) -> Envelope:
    """Make the event ready: its id says which happening, in which life of the account, it tells of."""
    token = ids.account_token(event.account)
    return Envelope(ids.event_id(generation, event.event, *what), token, event.account, event.event, _body(event))


def parse_event(body: bytes) -> Event:
    """Read a body from the bus; pydantic.ValidationError when it is no event we know."""
    return _ADAPTER.validate_json(body)


def _body(event: Event) -> bytes:
    """The body, within the limit: content of a message goes first, then what strangers wrote too much of is cut."""
    body = event.model_dump_json(by_alias=True).encode()
    if len(body) > MAX_EVENT_BYTES and isinstance(event, MessageNew):
        body = _without_content(event).model_dump_json(by_alias=True).encode()
    return body if len(body) <= MAX_EVENT_BYTES else cut_body(body, MAX_EVENT_BYTES)


def _without_content(event: MessageNew) -> MessageNew:
    """What is too large for the bus becomes an id to fetch: the text, and the headers with it."""
    text = event.data.text
    bare = text and text.model_copy(update={"plain": None, "html": None, "has_more": True})
    return event.model_copy(update={"data": event.data.model_copy(update={"text": bare, "headers": None})})
