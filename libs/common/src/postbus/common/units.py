"""Durations and sizes as people write them in configuration: `10s`, `500ms`, `5M`.

Suffixes are the incumbent's: `ms s m h d mo y` for durations, `k M G T P` (powers of 1024) for sizes.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

MAX_DURATION = timedelta(days=36_500)
MAX_SIZE = 1024**6  # bytes; more than anything here could hold

_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)", re.ASCII)
_MILLISECONDS = {
    "": 1,
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "mo": 30 * 86_400_000,
    "y": 365 * 86_400_000,
}
_BYTES = {"": 1, "b": 1} | {
    spelling: 1024**power for power, letter in enumerate("kmgtp", start=1) for spelling in (letter, letter + "b")
}


def parse_duration(text: str) -> timedelta:
    """Read `500ms`, `10s`, `5m`, `1h`, `2d`, `1mo` (30 days), `1y` (365 days) or plain milliseconds.

    ValueError for anything else, and for more than a hundred years.
    """
    number, unit = _split(text, "a duration (examples: 500ms, 10s, 5m, 1h, 2d)")
    if unit.lower() not in _MILLISECONDS:
        raise ValueError(f'"{unit}" is not a unit of time (ms, s, m, h, d, mo, y)')
    milliseconds = number * _MILLISECONDS[unit.lower()]
    if milliseconds > MAX_DURATION / timedelta(milliseconds=1):
        raise ValueError("is longer than a hundred years")
    return timedelta(microseconds=int(milliseconds * 1000))


def parse_size(text: str) -> int:
    """Read `1k`, `5M`, `2G` (powers of 1024) or plain bytes, as bytes; ValueError for anything else."""
    number, unit = _split(text, "a size (examples: 500k, 5M, 2G)")
    if unit.lower() not in _BYTES:
        raise ValueError(f'"{unit}" is not a unit of size (k, M, G, T, P)')
    size = int(number * _BYTES[unit.lower()])
    if size > MAX_SIZE:
        raise ValueError("is larger than 1024P")
    return size


def compose_duration(duration: timedelta) -> str:
    """The shortest spelling that `parse_duration` reads back, to the millisecond: `10s`, `3d`, `1500ms`."""
    milliseconds = duration // timedelta(milliseconds=1)
    for unit in ("d", "h", "m", "s"):
        if milliseconds and milliseconds % _MILLISECONDS[unit] == 0:
            return f"{milliseconds // _MILLISECONDS[unit]}{unit}"
    return f"{milliseconds}ms"


def compose_size(size: int) -> str:
    """The shortest spelling that `parse_size` reads back: `5M`, `1k`, `1500`."""
    for letter in ("P", "T", "G", "M", "k"):
        if size and size % _BYTES[letter.lower()] == 0:
            return f"{size // _BYTES[letter.lower()]}{letter}"
    return str(size)


def _split(text: str, what: str) -> tuple[Decimal, str]:
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'"{text[:40]}" is not {what}')
    return Decimal(match[1]), match[2]
