"""Header values of an ENVELOPE (RFC 9051, 7.5.2) decoded: lines of text, addresses, dates.

Strangers wrote them: nothing here raises, everything has a limit, and what is no address never becomes one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from postbus.common.mime.charsets import decode_text
from postbus.common.mime.headers import parse_date
from postbus.common.mime.words import decode_words
from postbus.common.times import iso
from postbus.imap_sync.protocol.values import EnvelopeAddress

MAX_NAME: Final = 1024  # characters of a display name
MAX_CACHED: Final = 200  # bytes of an address that is worth remembering: 2 MB in all
MAX_ADDRESS: Final = 1000  # characters; RFC 5321, 4.5.3.1 allows 320

# What servers write where a header had no address. quirk_dovecot: 2.3, message-address.c; quirk_uw: c-client.
_MADE_UP: Final = frozenset((b"MISSING_DOMAIN", b"MISSING_MAILBOX", b".SYNTAX-ERROR.", b".MISSING-HOST-NAME."))
_CONTROL: Final = dict.fromkeys((*range(32), 127))

# RFC 5322, 3.3, as nearly all mail has it: ten times faster than a parser of everything that was ever seen.
_COMMON_DATE: Final = re.compile(
    rb"(?:[A-Z][a-z]{2}, )?(\d\d?) ([A-Z][a-z]{2}) ((?:19|20)\d\d) (\d\d):(\d\d):(\d\d)"
    rb" ([+-])([01]\d|2[0-3])([0-5]\d)(?: \([^()]{0,40}\))?"
)
_MONTH_NAMES: Final = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES.split(), start=1)}


def decode_line(raw: bytes | None, max_chars: int) -> str | None:
    """A header value as text on one line, cut at `max_chars`; None where there is none or it is empty."""
    return decode_value(raw).strip()[:max_chars] or None if raw else None


def decode_value(raw: bytes) -> str:
    """A header value as text. Most are plain and printable: no need for the whole machinery then."""
    if raw.isascii() and b"=?" not in raw and (text := raw.decode("ascii")).isprintable():
        return text
    return decode_words(raw)


def decode_addresses(addresses: Sequence[EnvelopeAddress]) -> list[dict[str, str]]:
    """The addresses of one header as JSON, `{name, address}`; the name may be empty."""
    return [address for address in map(decode_address, addresses) if address]


def decode_address(address: EnvelopeAddress) -> dict[str, str] | None:
    """One address as JSON; None where there is none: a NIL host, a group marker, what a server made up."""
    size = len(address.name or b"") + len(address.mailbox or b"") + len(address.host or b"")
    return _known_address(address) if size <= MAX_CACHED else _decoded_address(address)


def decode_date(written: bytes | None, internal: datetime | None) -> str | None:
    """The Date header in UTC as the API writes it, else when the server got the message; None without either."""
    if written and (common := _common_date(written)):
        return common
    parsed = parse_date(written) or internal
    return iso(parsed) if parsed else None


def _decoded_address(address: EnvelopeAddress) -> dict[str, str] | None:
    local, host = address.mailbox, address.host
    if not local or not host or local in _MADE_UP or host in _MADE_UP:
        return None
    written = _address_text(local + b"@" + host)
    return {"name": decode_line(address.name, MAX_NAME) or "", "address": written} if written else None


_known_address: Final = lru_cache(maxsize=4096)(_decoded_address)  # people write to the same people


def _address_text(raw: bytes) -> str | None:
    text = raw.decode("ascii") if raw.isascii() else decode_text(raw, None)
    if not text.isprintable():
        text = text.translate(_CONTROL)
    text = text.strip()
    return text if len(text) <= MAX_ADDRESS else None


def _common_date(written: bytes) -> str | None:
    match = _COMMON_DATE.fullmatch(written)
    if match is None or (month := _MONTHS.get(match[2])) is None:
        return None
    day, _, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    try:
        local = datetime(int(year), month, int(day), int(hour), int(minute), int(second))
    except ValueError:
        return None
    offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
    utc = local + offset if sign == b"-" else local - offset
    return f"{utc.isoformat()}.000Z"
