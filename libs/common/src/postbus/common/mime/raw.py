"""Finished messages of clients (RFC 5322): taken apart into fields and body, put together again, else untouched.

What a client wrote travels byte for byte; only fields that are ours, or nobody's business, are taken out or added.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from postbus.common.errors import BadInput, TooLarge
from postbus.common.mime.compose import compose_address_list, new_message_id, wire_address
from postbus.common.mime.headers import (
    FIELD,
    MAX_FIELDS,
    MAX_HEADER_BLOCK,
    parse_addresses,
    parse_message_ids,
    unfold,
)
from postbus.common.mime.outgoing import OutgoingAddress
from postbus.common.mime.words import decode_words

CONTROL_PREFIX: Final = "x-ee-"

_HIDDEN: Final = frozenset({"bcc", "resent-bcc", "return-path"})
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_ENVELOPE_LINE: Final = re.compile(rb">?From [^\n]*\n")  # of an mbox file; no field


@dataclass(frozen=True, slots=True)
class RawField:
    """One header field: its name as written, and all of its bytes, line ends included."""

    name: str
    raw: bytes

    @property
    def key(self) -> str:
        """The name to compare by."""
        return self.name.lower()

    @property
    def value(self) -> bytes:
        """What stands behind the colon, on one line."""
        return unfold(self.raw.partition(b":")[2])

    @property
    def text(self) -> str:
        """The value as people read it (RFC 2047)."""
        return decode_words(self.value)


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as fields, in order, and everything behind the empty line."""

    fields: tuple[RawField, ...]
    body: bytes

    def named(self, name: str) -> Iterator[RawField]:
        """The fields of this name, whatever its case."""
        return (field for field in self.fields if field.key == name.lower())

    def without(self, names: Iterable[str]) -> RawMessage:
        """The same without the fields of these names, whatever their case."""
        gone = {name.lower() for name in names}
        return RawMessage(tuple(field for field in self.fields if field.key not in gone), self.body)

    def compose(self) -> bytes:
        """The message for the wire."""
        return b"".join([*(field.raw for field in self.fields), b"\r\n", self.body])


@dataclass(frozen=True, slots=True)
class Travelling:
    """A message ready to be sent: without Bcc and control fields, with all that a message must have.

    `controls` are the control fields by lower-case name; `bcc` is for the stored copy, as `jobs.Submission` has it.
    """

    raw: bytes
    message_id: str
    bcc: str | None
    controls: dict[str, str]


def parse_raw(raw: bytes) -> RawMessage:
    """Take a message apart. TooLarge when the header is more than anybody reads.

    Lines may end in CRLF, CR or LF: what comes out has CRLF throughout. Text that begins without an empty line ends
    the header too, as MTAs have it.
    """
    raw = crlf_clean(raw)
    start = position = found.end() if (found := _ENVELOPE_LINE.match(raw)) else 0
    fields: list[RawField] = []
    while field := FIELD.match(raw, position):
        position = field.end()
        if position - start > MAX_HEADER_BLOCK or len(fields) >= MAX_FIELDS:
            raise TooLarge("The header of the message is too large")
        fields.append(RawField(field[1].decode("ascii"), _ended(field[0])))
    body = raw[position + 2 :] if raw.startswith(b"\r\n", position) else raw[position:]
    return RawMessage(tuple(fields), body)


def crlf_clean(raw: bytes) -> bytes:
    """The message with CRLF at the end of every line; one pass in C where it has that already."""
    pairs = raw.count(b"\r\n")
    if raw.count(b"\n") == pairs and raw.count(b"\r") == pairs:
        return raw
    return _LINE_END.sub(b"\r\n", raw)


def make_field(name: str, value: str) -> RawField:
    """A field of ours; the value is folded, and ASCII."""
    return RawField(name, f"{name}: {value}\r\n".encode("ascii"))


def prepare_to_travel(
    message: RawMessage,
    *,
    domain: str,
    date: datetime,
    redate: bool = False,
    message_id: str | None = None,
    seed: str | None = None,
) -> Travelling:
    """What is sent of a client's message.

    A Message-ID at `domain` (from `seed`), a Date and a MIME-Version are added where there are none. `redate` and
    `message_id` put the given ones in place of the client's.
    """
    controls = {field.key: field.text for field in message.fields if field.key.startswith(CONTROL_PREFIX)}
    own_id = message_id or _usable_id(message)
    replaced = set(controls) | _HIDDEN
    added: list[RawField] = []
    if message_id or own_id is None:
        own_id = own_id or new_message_id(domain, seed)
        replaced.add("message-id")
        added.append(make_field("Message-ID", own_id))
    if redate or not any(message.named("date")):
        replaced.add("date")
        added.append(make_field("Date", format_datetime(date.astimezone(UTC))))
    if not any(message.named("mime-version")):
        added.append(make_field("MIME-Version", "1.0"))
    kept = message.without(replaced)
    travelling = RawMessage((*kept.fields, *added), _ended(kept.body))
    return Travelling(travelling.compose(), own_id, bcc_of(message), controls)


def bcc_of(message: RawMessage) -> str | None:
    """The value of the Bcc field of the stored copy, folded ASCII; None where there is none to keep."""
    listed = [one for field in message.named("bcc") for one in parse_addresses(field.value)]
    usable = [one for address in listed for one in _usable(OutgoingAddress(address.name, address.address))]
    return compose_address_list(usable) if usable else None


def _usable(mailbox: OutgoingAddress) -> Sequence[OutgoingAddress]:
    try:
        if wire_address(mailbox.address).isascii():
            compose_address_list([mailbox])
            return [mailbox]
    except (ValueError, BadInput):
        pass
    return []


def _usable_id(message: RawMessage) -> str | None:
    """The Message-ID, if it is one that can be searched for later."""
    fields = list(message.named("message-id"))
    ids = parse_message_ids(fields[0].value) if fields else []
    return ids[0] if len(fields) == 1 and ids and ids[0].isascii() and "@" in ids[0] else None


def _ended(text: bytes) -> bytes:
    return text if not text or text.endswith(b"\r\n") else text + b"\r\n"
