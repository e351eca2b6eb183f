"""Instants as the API writes them: ISO 8601 in UTC with milliseconds, `2026-11-25T05:09:23.123Z`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, PlainSerializer


def now() -> datetime:
    """The current instant, aware, in UTC, cut to milliseconds as every stored instant is."""
    instant = datetime.now(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def iso(instant: datetime) -> str:
    """The instant as the API writes it."""
    utc = instant.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


Instant = Annotated[AwareDatetime, PlainSerializer(iso, return_type=str, when_used="json")]
