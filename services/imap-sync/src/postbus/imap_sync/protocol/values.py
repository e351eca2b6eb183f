"""What an IMAP server says, as values: no text of the protocol leaves this package in another form.

Paths are Unicode as users see them; modified UTF-7 stays inside the protocol package (RFC 3501, 5.1.3). Header values
of an envelope stay bytes: decoding them (RFC 2047) is the business of `postbus.common.mime`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """Answer to STATUS (RFC 9051, 7.3.4); None where the server did not say."""

    messages: int | None = None
    uid_next: int | None = None
    uid_validity: int | None = None
    unseen: int | None = None
    highest_modseq: int | None = None
    mailbox_id: str | None = None


@dataclass(frozen=True, slots=True)
class ListedMailbox:
    """One row of LIST, LSUB or XLIST; `attributes` in lower case with their backslash: `\\noselect`, `\\sent`."""

    path: str
    delimiter: str | None
    attributes: frozenset[str]
    status: MailboxStatus | None = None  # where LIST was asked to return it (RFC 5819)

    @property
    def selectable(self) -> bool:
        """Whether it can be selected: neither \\Noselect nor \\NonExistent."""
        return not self.attributes & {"\\noselect", "\\nonexistent"}


@dataclass(frozen=True, slots=True)
class EnvelopeAddress:
    """One address of an ENVELOPE; raw, and None where the server said NIL. Group markers are not here."""

    name: bytes | None
    mailbox: bytes | None
    host: bytes | None


@dataclass(frozen=True, slots=True)
class MessageEnvelope:
    """ENVELOPE (RFC 9051, 7.5.2): header values as they are in the message."""

    date: bytes | None = None
    subject: bytes | None = None
    from_: tuple[EnvelopeAddress, ...] = ()
    sender: tuple[EnvelopeAddress, ...] = ()
    reply_to: tuple[EnvelopeAddress, ...] = ()
    to: tuple[EnvelopeAddress, ...] = ()
    cc: tuple[EnvelopeAddress, ...] = ()
    bcc: tuple[EnvelopeAddress, ...] = ()
    in_reply_to: bytes | None = None
    message_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class BodyPart:
    """One part of BODYSTRUCTURE (RFC 9051, 7.5.2). `number` is its section, empty for a multipart at the top.

    A multipart that is the body of a message/rfc822 part `2` is `2.TEXT`, and its parts are `2.1`, `2.2`.

    `type` and `subtype`, `encoding`, `disposition` are in lower case; parameters have lower-case names and raw values
    (RFC 2231 and RFC 2047 not undone). `size` is bytes as transferred. A message/rfc822 part has the parts of the
    message inside as `children` (one child: its body), numbered as RFC 9051, 6.4.5.1 says.
    """

    number: str
    type: str
    subtype: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    content_id: str | None = None
    description: bytes | None = None
    encoding: str = "7bit"
    size: int = 0
    lines: int | None = None
    disposition: str | None = None
    disposition_parameters: Mapping[str, str] = field(default_factory=dict)
    children: tuple[BodyPart, ...] = ()
    envelope: MessageEnvelope | None = None  # of a message/rfc822 part

    @property
    def content_type(self) -> str:
        """`type/subtype`."""
        return f"{self.type}/{self.subtype}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """One row of FETCH; None where it was not asked for or not answered.

    `sections` has what was asked as BODY.PEEK, by section in upper case without the partial: `` (all), `1`, `HEADER`,
    `HEADER.FIELDS (REFERENCES)`, `1.MIME`; what the server has not (NIL) is absent. Of a `broken` row nothing but the
    numbers could be understood.
    """

    seq: int
    uid: int | None = None
    flags: tuple[str, ...] | None = None
    modseq: int | None = None
    size: int | None = None
    internal_date: datetime | None = None
    envelope: MessageEnvelope | None = None
    structure: BodyPart | None = None
    email_id: str | None = None  # EMAILID (RFC 8474) or X-GM-MSGID
    thread_id: str | None = None
    labels: tuple[str, ...] | None = None
    sections: Mapping[str, bytes] = field(default_factory=dict)
    broken: bool = False


@dataclass(frozen=True, slots=True)
class UidRange:
    """Uids from `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Vanished:
    """Messages that are gone (RFC 7162, 3.2.10); `earlier` when it answers a question of ours and is no news."""

    ranges: tuple[UidRange, ...]
    earlier: bool = False


@dataclass(frozen=True, slots=True)
class Selected:
    """What SELECT or EXAMINE told. `uid_validity` None where the server gave none; `highest_modseq` None for NOMODSEQ.

    `vanished` and `changed` are what QRESYNC reported since the state it was given (RFC 7162, 3.2.5).
    """

    path: str
    exists: int
    uid_validity: int | None
    uid_next: int | None
    highest_modseq: int | None
    read_only: bool = False
    permanent_flags: frozenset[str] | None = None
    mailbox_id: str | None = None
    vanished: tuple[UidRange, ...] = ()
    changed: tuple[Fetched, ...] = ()


@dataclass(frozen=True, slots=True)
class Quota:
    """Bytes that are stored, and bytes that may be; some servers let users go over it."""

    usage: int
    limit: int


@dataclass(frozen=True, slots=True)
class KnownState:
    """What we know of a mailbox, for SELECT (QRESYNC ...)."""

    uid_validity: int
    modseq: int
    uids: tuple[UidRange, ...] = ()


@dataclass(frozen=True, slots=True)
class Appended:
    """Where APPEND put the message; None without UIDPLUS (RFC 4315)."""

    uid_validity: int | None = None
    uid: int | None = None


@dataclass(frozen=True, slots=True)
class Copied:
    """Where COPY or MOVE put messages: their new uids by the old ones; empty without UIDPLUS (RFC 4315)."""

    uid_validity: int | None = None
    uids: Mapping[int, int] = field(default_factory=dict)
