"""INTERNALDATE, `"17-Jul-1996 02:44:25 -0700"`, and the days of SEARCH (RFC 9051, date-time and date)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {name.lower().encode(): number for number, name in enumerate(_MONTHS, 1)}
_DATE_TIME = re.compile(
    rb" ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d{1,2}):(\d{2}):(\d{2})(?: ([+-])(\d{2})(\d{2}))?"  # day may be padded
)


def parse_internal_date(raw: bytes) -> datetime | None:
    """The moment, in UTC; None for what is no date: servers have been seen to send any text."""
    found = _DATE_TIME.fullmatch(raw)
    if found is None:
        return None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    try:
        zone = _zone(sign, zone_hours, zone_minutes) if sign else UTC
        local = datetime(
            int(year),
            _MONTH_NUMBERS[month.lower()],
            int(day),
            int(hour),
            int(minute),
            min(int(second), 59),
            tzinfo=zone,
        )
        return local.astimezone(UTC)
    except (ValueError, KeyError, OverflowError):
        return None


def compose_internal_date(moment: datetime) -> str:
    """The moment for APPEND, in UTC and without its quotes; it must be aware."""
    utc = moment.astimezone(UTC)
    return f"{utc.day:2d}-{_MONTHS[utc.month - 1]}-{utc.year:04d} {utc:%H:%M:%S} +0000"


def compose_search_date(moment: datetime) -> str:
    """The day of an aware moment for SEARCH, in UTC: `1-Feb-1994` (RFC 9051, date)."""
    utc = moment.astimezone(UTC)
    return f"{utc.day}-{_MONTHS[utc.month - 1]}-{utc.year:04d}"


@lru_cache(maxsize=256)
def _zone(sign: bytes, hours: bytes, minutes: bytes) -> timezone:
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == b"-" else offset)
