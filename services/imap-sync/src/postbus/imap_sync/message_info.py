"""A row of FETCH as the API and `messageNew` show a message (contract, section 7).

There is one place that decides the names and the order of the fields: `compose_fields`, a plain dict, because a
listing is written without a model per row. `compose_info` is the same as the model that goes into an event.
Mail is strangers' work: nothing here raises for it, and what can't be read is left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Final

import msgspec
import structlog

from postbus.common.accounts import MailboxRecord
from postbus.common.events import MessageInfo
from postbus.common.ids import AttachmentId, MessageId, TextId
from postbus.common.mime.headers import MAX_HEADER_BLOCK, parse_header_block
from postbus.imap_sync.envelope import decode_addresses, decode_date, decode_line, decode_value
from postbus.imap_sync.protocol.values import Fetched, MessageEnvelope
from postbus.imap_sync.structure import Attachment, Content, read_structure

log = structlog.get_logger()

MAX_SUBJECT: Final = 16 * 1024  # characters
MAX_AUTHORS: Final = 16  # addresses of From and Sender, of which the first one is shown
MAX_ID: Final = 4096  # characters of Message-ID and In-Reply-To
MAX_INFO_BYTES: Final = 160 * 1024  # JSON without text and headers; an event is at most 256 KB

BASE_ITEMS: Final = ("UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE")
GMAIL_ITEMS: Final = ("X-GM-MSGID", "X-GM-THRID", "X-GM-LABELS")
OBJECT_ITEMS: Final = ("EMAILID", "THREADID")  # RFC 8474
ALL_HEADERS: Final = f"BODY.PEEK[HEADER]<0.{MAX_HEADER_BLOCK}>"

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")  # printable, without what IMAP gives a meaning
_NO_ENVELOPE: Final = MessageEnvelope()
_USES: Final = ("\\Junk", "\\Sent", "\\Trash", "\\Inbox", "\\Drafts")  # in the order in which they decide
_LABEL_USES: Final = {  # Gmail's system labels
    "\\junk": "\\Junk",
    "\\spam": "\\Junk",
    "\\sent": "\\Sent",
    "\\trash": "\\Trash",
    "\\inbox": "\\Inbox",
    "\\draft": "\\Drafts",
    "\\drafts": "\\Drafts",
}


class View(Enum):
    """Who looks at a message: a listing shows less than the message itself."""

    LISTING = auto()
    MESSAGE = auto()
    EVENT = auto()


def info_items(*, gmail: bool, headers: bool | Collection[str] = False, object_ids: bool = False) -> tuple[str, ...]:
    """What to FETCH for `compose_info`. `headers`: True or `*` for all of them, names for those only."""
    own = GMAIL_ITEMS if gmail else OBJECT_ITEMS if object_ids else ()
    return (*BASE_ITEMS, *own, *_header_items(headers))


def compose_info(fetched: Fetched, mailbox: MailboxRecord, *, headers: Collection[str] | None = None) -> MessageInfo:
    """The message as an event carries it; `headers` names those that are wanted, `*` all. Never raises for broken mail.

    Bounded: without text and headers it is at most `MAX_INFO_BYTES` of JSON, whatever a stranger wrote.
    ValueError for a row without a uid: that is no message.
    """
    try:
        fields = bounded(compose_fields(fetched, mailbox, View.EVENT), MAX_INFO_BYTES)
        if headers:
            fields["headers"] = compose_headers(fetched, headers)
        return MessageInfo.model_validate(fields)
    except Exception as error:
        if not fetched.uid:
            raise ValueError("a row without a uid") from error
        log.exception("message not readable", path=mailbox.path, uid=fetched.uid)
        return MessageInfo.model_validate(compose_fields(_without_content(fetched), mailbox, View.EVENT))


def compose_fields(fetched: Fetched, mailbox: MailboxRecord, view: View) -> dict[str, Any]:
    """The message as JSON, without headers. ValueError for a row without a uid."""
    if not fetched.uid:
        raise ValueError("a row without a uid")
    message = MessageId(mailbox.number, fetched.uid)
    envelope = fetched.envelope or _NO_ENVELOPE
    content = read_structure(fetched.structure)
    fields: dict[str, Any] = {"id": str(message), "uid": fetched.uid}
    if view is not View.EVENT:  # an event has it beside the message
        fields["path"] = mailbox.path
    _add(fields, "emailId", fetched.email_id)
    _add(fields, "threadId", fetched.thread_id)
    _add(fields, "date", decode_date(envelope.date, fetched.internal_date))
    fields.update(_flag_fields(fetched))
    fields["size"] = fetched.size or 0
    _add(fields, "subject", decode_line(envelope.subject, MAX_SUBJECT))
    _add_addresses(fields, envelope, all_of_them=view is not View.LISTING)
    fields["attachments"] = [_attachment(message, attachment) for attachment in content.attachments]
    _add(fields, "messageId", decode_line(envelope.message_id, MAX_ID))
    _add(fields, "inReplyTo", decode_line(envelope.in_reply_to, MAX_ID))
    fields["text"] = compose_text(message, content)
    if view is not View.LISTING:
        _add(fields, "specialUse", mailbox.special_use)
    _add(fields, "messageSpecialUse", _message_use(fetched, mailbox))
    return fields


def changing_fields(fetched: Fetched, mailbox: MailboxRecord) -> dict[str, Any]:
    """Those fields of a message that can change while it stays in its mailbox; all others never do."""
    fields = _flag_fields(fetched)
    _add(fields, "messageSpecialUse", _message_use(fetched, mailbox))
    return fields


def compose_text(message: MessageId, content: Content) -> dict[str, Any]:
    """The id of the text and its size as transferred, by type."""
    plain, html = content.plain, content.html
    size = {name: sum(part.size for part in parts) for name, parts in (("plain", plain), ("html", html)) if parts}
    numbers = TextId(message, tuple(part.number for part in plain), tuple(part.number for part in html))
    return {"id": str(numbers), "encodedSize": size}


def compose_headers(fetched: Fetched, wanted: Collection[str]) -> dict[str, list[str]]:
    """The decoded headers, lower-case name to values in order; of all that came only those that are wanted."""
    names = None if "*" in wanted else {name.lower() for name in wanted}
    headers: dict[str, list[str]] = {}
    for written, value in parse_header_block(header_block(fetched.sections)):
        name = written.lower()
        if names is None or name in names:
            headers.setdefault(name, []).append(decode_value(value))
    return headers


def header_block(sections: Mapping[str, bytes]) -> bytes:
    """The header block among sections, whether all of it was asked for or some fields; empty where none came."""
    return next((data for section, data in sections.items() if section.upper().startswith("HEADER")), b"")


def bounded(fields: dict[str, Any], max_bytes: int) -> dict[str, Any]:
    """The message with its lists cut until it is small enough as JSON: hostile mail has 100,000 recipients."""
    keep = 512
    while keep and len(msgspec.json.encode(fields)) > max_bytes:
        fields = {name: value[:keep] if isinstance(value, list) else value for name, value in fields.items()}
        keep //= 2
    return fields


def _header_items(headers: bool | Collection[str]) -> tuple[str, ...]:
    if headers is True or (not isinstance(headers, bool) and "*" in headers):
        return (ALL_HEADERS,)
    wanted = () if isinstance(headers, bool) else headers
    names = sorted({name.upper() for name in wanted if _HEADER_NAME.fullmatch(name)})
    return (f"BODY.PEEK[HEADER.FIELDS ({' '.join(names)})]",) if names else ()


def _without_content(fetched: Fetched) -> Fetched:
    """What the server itself knows of the message: its uid, flags, size."""
    return Fetched(fetched.seq, fetched.uid, fetched.flags, size=fetched.size)


def _add(fields: dict[str, Any], name: str, value: object) -> None:
    """Add what is there: neither None nor an empty list."""
    if value:
        fields[name] = value


def _flag_fields(fetched: Fetched) -> dict[str, Any]:
    """Flags and labels as they are; and four flags as `true`, never as `false`."""
    flags, shown = _shown_flags(fetched.flags)
    labels = {} if fetched.labels is None else {"labels": list(fetched.labels)}
    return {"flags": list(flags), **labels, **dict.fromkeys(shown, True)}


@lru_cache(maxsize=1024)
def _shown_flags(flags: tuple[str, ...] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Flags but `\\Recent`, which tells of a session (RFC 3501, 2.3.2), and the names of those that are shown apart."""
    if flags is None:
        return (), ()
    lowered = {flag.lower() for flag in flags}
    shown = [name for name in ("flagged", "answered", "draft") if f"\\{name}" in lowered]
    unseen = ["unseen"] if "\\seen" not in lowered else []
    return tuple(flag for flag in flags if flag.lower() != "\\recent"), (*unseen, *shown)


def _add_addresses(fields: dict[str, Any], envelope: MessageEnvelope, *, all_of_them: bool) -> None:
    if first := decode_addresses(envelope.from_[:MAX_AUTHORS]):
        fields["from"] = first[0]
    _add(fields, "replyTo", decode_addresses(envelope.reply_to))
    if all_of_them and (senders := decode_addresses(envelope.sender[:MAX_AUTHORS])):
        fields["sender"] = senders[0]
    _add(fields, "to", decode_addresses(envelope.to))
    _add(fields, "cc", decode_addresses(envelope.cc))
    if all_of_them:
        _add(fields, "bcc", decode_addresses(envelope.bcc))


def _attachment(message: MessageId, attachment: Attachment) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": str(AttachmentId(message, attachment.number)),
        "contentType": attachment.content_type,
        "encodedSize": attachment.encoded_size,
    }
    _add(fields, "filename", attachment.filename)
    fields["embedded"], fields["inline"] = attachment.embedded, attachment.inline
    _add(fields, "contentId", attachment.content_id)
    _add(fields, "encodedInMessage", attachment.encoded_in_message)
    _add(fields, "method", attachment.method)
    return fields


def _message_use(fetched: Fetched, mailbox: MailboxRecord) -> str | None:
    """The first of five special uses that the mailbox or Gmail's labels give the message."""
    if not fetched.labels:
        return mailbox.special_use if mailbox.special_use in _USES else None
    uses = {mailbox.special_use, *(_LABEL_USES.get(label.lower()) for label in fetched.labels)}
    return next((use for use in _USES if use in uses), None)
