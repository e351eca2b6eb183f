"""SEARCH and ESEARCH (RFC 9051, 7.3.4; RFC 4731) as ranges of uids."""

from __future__ import annotations

from itertools import pairwise

from postbus.common.errors import ProtocolError
from postbus.imap_sync.protocol.ranges import MAX_UID, parse_set, to_ranges
from postbus.imap_sync.protocol.tokens import parse_tokens
from postbus.imap_sync.protocol.values import UidRange


def parse_search(text: bytes) -> tuple[UidRange, ...]:
    """`2 3 6`, maybe with `(MODSEQ 917162500)` behind (RFC 7162, 3.1.5). ProtocolError for what is no number."""
    numbers = text.partition(b"(")[0].split()
    if not all(number.isdigit() and len(number) <= 10 for number in numbers):
        raise ProtocolError("the server sent a malformed search result")
    uids = set(map(int, numbers))
    if uids and (min(uids) == 0 or max(uids) > MAX_UID):
        raise ProtocolError("the server sent a search result with an impossible number")
    return to_ranges(uids)


def parse_esearch(text: bytes) -> tuple[UidRange, ...] | None:
    """`(TAG "A285") UID ALL 4:5,9`: what ALL says. Without it nothing was found.

    None where other numbers say that something was: quirk_esearch_without_all (RZimapd under IMAP4rev2).
    """
    tokens = parse_tokens([text])
    for name, value in pairwise(tokens):
        if isinstance(name, bytes) and name.upper() == b"ALL" and isinstance(value, bytes):
            return parse_set(value.decode("ascii", "replace"))
    others = (b"MIN", b"MAX", b"COUNT")
    tells = (name.upper() in others and value != b"0" for name, value in pairwise(tokens) if isinstance(name, bytes))
    return None if any(tells) else ()
