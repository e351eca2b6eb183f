"""What a client looks for, as keys of SEARCH (contract, section 8; RFC 9051, 6.4.4; RFC 5032, 7162 and 8474). Pure.

A key that the server could not understand is refused, never left out: bulk operations act on what is found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from postbus.common.commands import SearchQuery
from postbus.common.errors import BadInput, NotSupported
from postbus.common.times import now
from postbus.imap_sync.protocol.dates import compose_search_date
from postbus.imap_sync.protocol.utf7 import encode_utf7

Criteria = list[str | bytes]

GMAIL: Final = "X-GM-EXT-1"
NOTHING: Final = ("NOT", "ALL")  # for what no message can be
LONGEST_AGO_S: Final = 0xFFFF_FFFF  # nz-number of RFC 9051

_FLAGS: Final = {
    "answered": ("ANSWERED", "UNANSWERED"),
    "deleted": ("DELETED", "UNDELETED"),
    "draft": ("DRAFT", "UNDRAFT"),
    "flagged": ("FLAGGED", "UNFLAGGED"),
    "seen": ("SEEN", "UNSEEN"),
    "unseen": ("UNSEEN", "SEEN"),
}
_TEXTS: Final = {"from_": "FROM", "to": "TO", "cc": "CC", "bcc": "BCC", "body": "BODY", "subject": "SUBJECT"}
_NUMBER: Final = r"(?:[1-9][0-9]{0,9}|\*)"
_RANGE: Final = rf"{_NUMBER}(?::{_NUMBER})?"
_SET: Final = re.compile(rf"{_RANGE}(?:,{_RANGE})*")  # RFC 9051, sequence-set
_FIELD_NAME: Final = re.compile(r"[!-9;-~]{1,998}")  # RFC 5322, 2.2
_OBJECT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")  # RFC 8474, 7
_GMAIL_ID: Final = re.compile(r"[0-9]{1,20}")


def compose_search(search: SearchQuery, capabilities: frozenset[str], *, at: datetime | None = None) -> Criteria:
    """The criteria for `ImapConnection.search`; `ALL` where nothing is asked for. `at` is now, unless given.

    NotSupported for keys of extensions that the server lacks; BadInput for malformed sets and header names and for NUL.
    """
    criteria: Criteria = []
    criteria += _compose_sets(search)
    criteria += _compose_flags(search)
    criteria += _compose_sizes(search)
    criteria += _compose_dates(search, capabilities, at or now())
    criteria += _compose_modseq(search, capabilities)
    criteria += _compose_ids(search, capabilities)
    criteria += _compose_labels(search, capabilities)
    criteria += _compose_headers(search)
    criteria += _compose_texts(search)
    criteria += _compose_gmail_raw(search, capabilities)
    return criteria or ["ALL"]


def is_sequence_set(text: str) -> bool:
    """Whether it is a sequence set: `1:10,12,20:*`."""
    return _SET.fullmatch(text) is not None


def _compose_sets(search: SearchQuery) -> Criteria:
    for key, value in (("seq", search.seq), ("uid", search.uid)):
        if value and not is_sequence_set(value):
            raise _refused(key, "must be a list of numbers and ranges")
    return [*([search.seq] if search.seq else []), *(["UID", search.uid] if search.uid else [])]


def _compose_flags(search: SearchQuery) -> Criteria:
    wanted = ((names, getattr(search, field)) for field, names in _FLAGS.items())
    return [present if value else absent for (present, absent), value in wanted if value is not None]


def _compose_sizes(search: SearchQuery) -> Criteria:
    sizes = (("LARGER", search.larger), ("SMALLER", search.smaller))
    return [word for key, size in sizes if size is not None for word in (key, str(size))]


def _compose_dates(search: SearchQuery, capabilities: frozenset[str], at: datetime) -> Criteria:
    return [
        *_compose_arrival("SINCE", "YOUNGER", search.since, capabilities, at),
        *_compose_arrival("BEFORE", "OLDER", search.before, capabilities, at),
        *(("SENTSINCE", compose_search_date(search.sent_since)) if search.sent_since else ()),
        *(("SENTBEFORE", compose_search_date(search.sent_before)) if search.sent_before else ()),
    ]


def _compose_arrival(
    day_key: str, age_key: str, moment: datetime | None, capabilities: frozenset[str], at: datetime
) -> Sequence[str]:
    """To the second with WITHIN (RFC 5032), which knows the past only; else to the day."""
    if moment is None:
        return ()
    ago_s = round((at - moment).total_seconds())
    if "WITHIN" in capabilities and 0 < ago_s <= LONGEST_AGO_S:
        return (age_key, str(ago_s))
    return (day_key, compose_search_date(moment))


def _compose_modseq(search: SearchQuery, capabilities: frozenset[str]) -> Criteria:
    if search.modseq is None:
        return []
    _require("modseq", "CONDSTORE", not capabilities.isdisjoint(("CONDSTORE", "QRESYNC")))
    return ["MODSEQ", str(search.modseq)]


def _compose_ids(search: SearchQuery, capabilities: frozenset[str]) -> Criteria:
    """Ids as listings show them: on Gmail its own, elsewhere those of OBJECTID."""
    gmail = GMAIL in capabilities
    given = (
        ("emailId", "X-GM-MSGID" if gmail else "EMAILID", [search.email_id or ""]),
        ("emailIds", "X-GM-MSGID" if gmail else "EMAILID", search.email_ids),
        ("threadId", "X-GM-THRID" if gmail else "THREADID", [search.thread_id or ""]),
    )
    criteria: Criteria = []
    for field, key, ids in given:
        if not any(ids):
            continue
        _require(field, "OBJECTID", gmail or "OBJECTID" in capabilities)
        pattern = _GMAIL_ID if gmail else _OBJECT_ID
        criteria += any_of([(key, one) for one in dict.fromkeys(ids) if pattern.fullmatch(one)])
    return criteria


def any_of(keys: Sequence[Sequence[str]]) -> Sequence[str]:
    """One key that holds where one of these does: OR takes two, so they become a tree that is as flat as can be."""
    if not keys:
        return NOTHING
    if len(keys) == 1:
        return keys[0]
    middle = len(keys) // 2
    return ["OR", *_operand(keys[:middle]), *_operand(keys[middle:])]


def _operand(keys: Sequence[Sequence[str]]) -> Sequence[str]:
    """quirk_bare_or: not every server can tell where an OR inside of an OR ends without parentheses."""
    return any_of(keys) if len(keys) == 1 else ["(", *any_of(keys), ")"]


def _compose_labels(search: SearchQuery, capabilities: frozenset[str]) -> Criteria:
    has, without = list(filter(None, search.labels.has)), list(filter(None, search.labels.not_))
    if has or without:
        _require("labels", GMAIL, GMAIL in capabilities)
    return [
        *(word for label in has for word in ("X-GM-LABELS", encode_utf7(label))),
        *(word for label in without for word in ("NOT", "X-GM-LABELS", encode_utf7(label))),
    ]


def _compose_headers(search: SearchQuery) -> Criteria:
    criteria: Criteria = []
    for name, value in search.header.items():
        if not _FIELD_NAME.fullmatch(name):
            raise _refused("header", "must have names of header fields as its keys")
        criteria += ["HEADER", name.encode(), _value(f"header.{name}", "" if value is True else value)]
    return criteria


def _compose_texts(search: SearchQuery) -> Criteria:
    texts = ((field.rstrip("_"), key, getattr(search, field)) for field, key in _TEXTS.items())
    return [word for field, key, text in texts if text for word in (key, _value(field, text))]


def _compose_gmail_raw(search: SearchQuery, capabilities: frozenset[str]) -> Criteria:
    if not search.gmail_raw:
        return []
    _require("gmailRaw", GMAIL, GMAIL in capabilities)
    return ["X-GM-RAW", _value("gmailRaw", search.gmail_raw)]


def _value(field: str, text: str) -> bytes:
    """Text as a string of the protocol; no form of those can hold NUL (RFC 9051, 4.3)."""
    if "\0" in text:
        raise _refused(field, "must not hold NUL")
    return text.encode("utf-8", "replace")


def _require(field: str, extension: str, offered: bool) -> None:
    if not offered:
        raise NotSupported(f"The mail server can not search for {field}: it lacks {extension}")


def _refused(field: str, message: str) -> BadInput:
    return BadInput(fields=[{"key": f"search.{field}", "message": message}])
