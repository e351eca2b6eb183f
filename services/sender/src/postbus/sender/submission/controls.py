"""What control headers of a submitted message say (contract, section 26): `X-EE-Send-At` and its like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from postbus.common.errors import BadInput
from postbus.common.mime.headers import parse_date

MAX_ATTEMPTS: Final = 1000
MAX_KEY: Final = 1024

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_ATTEMPTS: Final = re.compile(r"[0-9]{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Controls:
    """None where nothing is said. `attempts` 0: as the setting says."""

    send_at: datetime | None = None
    attempts: int | None = None
    idempotency_key: str | None = None
    account: str | None = None
    gateway: str | None = None


def read_controls(fields: Mapping[str, str]) -> Controls:
    """Read control fields, by lower-case name. BadInput for a value that can't be meant.

    Mail that should wait or be tried once must not go out as if nothing had been said.
    """
    given = {name.removeprefix("x-ee-"): value.strip() for name, value in fields.items() if value.strip()}
    return Controls(
        send_at=_send_at(given.get("send-at")),
        attempts=_attempts(given.get("delivery-attempts")),
        idempotency_key=_key(given.get("idempotency-key")),
        account=given.get("account"),
        gateway=given.get("gateway"),
    )


def _send_at(value: str | None) -> datetime | None:
    """Milliseconds since 1970, an ISO date or one as mail has it; without a zone it is UTC."""
    if value is None:
        return None
    try:
        if _MILLISECONDS.fullmatch(value):
            return _EPOCH + timedelta(milliseconds=int(value))
        found = _iso(value) or parse_date(value)
        if found is not None:
            return found.replace(microsecond=found.microsecond // 1000 * 1000).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _wrong("X-EE-Send-At", "has to be a date or milliseconds since 1970")


def _iso(value: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _attempts(value: str | None) -> int | None:
    if value is None:
        return None
    if not _ATTEMPTS.fullmatch(value) or int(value) > MAX_ATTEMPTS:
        raise _wrong("X-EE-Delivery-Attempts", f"has to be a number up to {MAX_ATTEMPTS}")
    return int(value)


def _key(value: str | None) -> str | None:
    if value is not None and len(value) > MAX_KEY:
        raise _wrong("X-EE-Idempotency-Key", f"has to be at most {MAX_KEY} characters long")
    return value


def _wrong(name: str, message: str) -> BadInput:
    return BadInput(f"{name} {message}", fields=[{"key": name, "message": f"{name} {message}"}])
