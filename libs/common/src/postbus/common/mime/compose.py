"""Messages for the wire: RFC 5322, 2045 to 2047, 2231, 6532 in; bytes out, CRLF-clean, no line over 998 octets.

What can't be written is refused before a byte of it is: nothing a caller says ends a header field or starts another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from email.utils import format_datetime
from typing import Final
from uuid import NAMESPACE_OID, uuid4, uuid5

from postbus.common.errors import BadInput
from postbus.common.mime.addresses import parse_addresses
from postbus.common.mime.compose_parts import compose_body, head_and_body
from postbus.common.mime.folding import MAX_LINE, fold, fold_value, phrase_tokens, text_tokens
from postbus.common.mime.headers import parse_message_ids
from postbus.common.mime.outgoing import (
    OutgoingAddress,
    OutgoingAttachment,
    OutgoingMessage,
    Problems,
    ascii_domain,
    wire_address,
)

__all__ = [
    "OutgoingAddress",
    "OutgoingAttachment",
    "OutgoingMessage",
    "compose_address_list",
    "compose_message",
    "needs_smtputf8",
    "new_message_id",
    "wire_address",
]

MAX_REFERENCES: Final = 100  # the first and the latest ids of a thread; nobody needs more to find it
_MAX_ID: Final = 900

_FIELD_NAME: Final = re.compile(r"[!-9;-~]{1,76}")
_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]+>")
# What has its own place in a submission, or is made here, by the MTA or for us, is not taken from the extra headers.
_RESERVED: Final = frozenset(
    {"from", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version"}
    | {"return-path", "received", "delivered-to", "resent-bcc"}
)
_RESERVED_PREFIXES: Final = ("content-", "x-ee-")
_ADDRESS_FIELDS: Final = frozenset(
    {"sender", "reply-to", "errors-to", "disposition-notification-to", "return-receipt-to"}
    | {"resent-from", "resent-to", "resent-cc"}
)
_ID_FIELDS: Final = frozenset({"in-reply-to", "references"})
_TOKEN_FIELDS: Final = re.compile(
    r"list-.*|feedback-id|auto-submitted|precedence|archived-at|require-recipient-valid-since"
)


def compose_message(message: OutgoingMessage) -> bytes:
    """The message as it travels: CRLF line ends throughout, the last line ended, and never a Bcc header.

    BadInput, listing every failure by field, for what can't be written: line ends or NUL in header values (also hidden
    in encoded words), names of headers that are none or not the caller's, addresses and ids that are none.
    """
    problems = Problems()
    fields = list(_fields(message, problems))
    body = compose_body(message.text, message.html, message.attachments, problems)
    problems.raise_any()
    wire = b"".join(head_and_body([*fields, "MIME-Version: 1.0", *body.fields], body))
    return wire if wire.endswith(b"\r\n") else wire + b"\r\n"


def needs_smtputf8(message: OutgoingMessage) -> bool:
    """Whether a local part is beyond ASCII: the message then only travels by SMTPUTF8 (RFC 6531)."""
    everybody = (message.sender, *message.to, *message.cc, *message.reply_to)
    return not all(mailbox.address.rpartition("@")[0].isascii() for mailbox in everybody)


def compose_address_list(addresses: Iterable[OutgoingAddress]) -> str:
    """The value of an address header, folded, without the header's name; BadInput for what is no address."""
    problems = Problems()
    tokens = list(_address_tokens("bcc", addresses, problems))
    problems.raise_any()
    return fold_value(tokens, name="Bcc")


def new_message_id(domain: str, seed: str | None = None) -> str:
    """A fresh Message-ID at this domain, with its brackets; BadInput when the domain has no ASCII form.

    It follows from `seed`, where there is one.
    """
    try:
        return f"<{uuid5(NAMESPACE_OID, seed) if seed else uuid4()}@{ascii_domain(domain)}>"
    except ValueError as error:
        raise BadInput(fields=[{"key": "from.address", "message": str(error)}]) from error


def _fields(message: OutgoingMessage, problems: Problems) -> Iterator[str]:
    yield fold("From", _address_tokens("from", [message.sender], problems))
    for name, mailboxes in (("To", message.to), ("Cc", message.cc), ("Reply-To", message.reply_to)):
        if mailboxes:
            yield fold(name, _address_tokens(_KEYS[name], mailboxes, problems))
    yield fold("Subject", text_tokens(problems.text("subject", message.subject), column=len("Subject: ")))
    yield f"Date: {format_datetime(message.date.astimezone(UTC))}"
    yield f"Message-ID: {_own_message_id(message.message_id, problems)}"
    yield from _threading(message)
    for name, value in message.headers:
        yield from _extra_field(name, value, _taken(message), problems)


_KEYS: Final = {"To": "to", "Cc": "cc", "Reply-To": "replyTo"}


def _threading(message: OutgoingMessage) -> Iterator[str]:
    """Ids of strangers' messages: those that can't be written are left out, an answer must not fail by them."""
    if answered := _usable_ids([message.in_reply_to or ""]):
        yield fold("In-Reply-To", answered)
    if references := _usable_ids(message.references):
        yield fold("References", references)


def _usable_ids(ids: Sequence[str]) -> list[str]:
    usable = [one for one in dict.fromkeys(ids) if _MESSAGE_ID.fullmatch(one) and len(one) <= _MAX_ID]
    return usable if len(usable) <= MAX_REFERENCES else [usable[0], *usable[1 - MAX_REFERENCES :]]


def _own_message_id(message_id: str, problems: Problems) -> str:
    if not _MESSAGE_ID.fullmatch(message_id) or len(message_id) > _MAX_ID:
        problems.add("messageId", "must be printable ASCII without spaces, in angle brackets")
    return message_id


def _taken(message: OutgoingMessage) -> set[str]:
    """Names of fields the message has by itself: an extra header does not repeat them."""
    own = {"in-reply-to": message.in_reply_to, "references": message.references, "reply-to": message.reply_to}
    return {name for name, value in own.items() if value}


def _extra_field(name: str, value: str, taken: set[str], problems: Problems) -> Iterator[str]:
    key = f"headers.{name}"
    lower = name.lower()
    if not _FIELD_NAME.fullmatch(name):
        problems.add("headers", "must have names of printable ASCII without spaces and colons")
    elif lower in _RESERVED or lower.startswith(_RESERVED_PREFIXES):
        problems.add(key, "is not allowed as an extra header")
    elif lower not in taken:
        tokens = list(_extra_tokens(key, name, problems.text(key, value), problems))
        if tokens:
            yield fold(name, tokens)


def _extra_tokens(key: str, name: str, value: str, problems: Problems) -> Iterable[str]:
    lower = name.lower()
    if lower in _ID_FIELDS:
        return _usable_ids(parse_message_ids(value))
    if lower in _ADDRESS_FIELDS:
        mailboxes = [OutgoingAddress(found.name, found.address) for found in parse_addresses(value)]
        return _address_tokens(key, mailboxes, problems)
    if _TOKEN_FIELDS.fullmatch(lower):
        return _plain_tokens(key, value, problems)
    return text_tokens(value, column=len(name) + 2, literal=False)


def _plain_tokens(key: str, value: str, problems: Problems) -> list[str]:
    """Fields that machines read: never encoded, only folded (RFC 2369, RFC 8058)."""
    tokens = value.split()
    if not value.isascii() or not all(token.isprintable() and len(token) <= MAX_LINE - 1 for token in tokens):
        problems.add(key, "must be printable ASCII with words that fit on a line")
    return tokens


def _address_tokens(key: str, mailboxes: Iterable[OutgoingAddress], problems: Problems) -> Iterator[str]:
    listed = list(mailboxes)
    for position, mailbox in enumerate(listed):
        where = f"{key}.{position}" if key != "from" else key
        name = problems.text(f"{where}.name", mailbox.name)
        address = problems.address(f"{where}.address", mailbox.address)
        comma = "," if position < len(listed) - 1 else ""
        phrase = phrase_tokens(name, column=len("Reply-To: ") if not position else 1)
        yield from phrase
        yield f"<{address}>{comma}" if phrase else f"{address}{comma}"
