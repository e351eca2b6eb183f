"""Durations, sizes and instants: what people write, and what the API shows."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from postbus.common.times import Instant, iso, now
from postbus.common.units import (
    MAX_DURATION,
    MAX_SIZE,
    compose_duration,
    compose_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("10s", timedelta(seconds=10)),
        ("1.5h", timedelta(minutes=90)),
        (" 2 d ", timedelta(days=2)),
        ("1mo", timedelta(days=30)),
        ("1Y", timedelta(days=365)),
        ("90000", timedelta(seconds=90)),
    ],
)
def test_durations_are_read(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    ("text", "size"),
    [("1500", 1500), ("1k", 1024), ("5M", 5 * 1024**2), ("2 GB", 2 * 1024**3), ("0.5k", 512), ("1P", 1024**5)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "s", "10 parsecs", "-1s", "1e9", "1.s", "١s", "10s5", "0x10", "9" * 30, "inf"])
def test_nonsense_is_refused(text: str) -> None:
    for parse in (parse_duration, parse_size):
        with pytest.raises(ValueError):
            parse(text)


def test_more_than_anybody_means_is_refused() -> None:
    with pytest.raises(ValueError, match="hundred years"):
        parse_duration("101y")
    with pytest.raises(ValueError, match="larger"):
        parse_size("1025P")


@given(st.integers(0, MAX_DURATION // timedelta(milliseconds=1)))
def test_durations_read_back(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(compose_duration(duration)) == duration


@given(st.integers(0, MAX_SIZE) | st.integers(0, 1023).map(lambda count: count * 1024**3))
def test_sizes_read_back(size: int) -> None:
    assert parse_size(compose_size(size)) == size


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            parse(text)
        except ValueError:
            continue


class Stamped(BaseModel):
    at: Instant


@given(st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(timezone(timedelta(hours=5)))))
def test_instants_are_utc_with_milliseconds_and_read_back(instant: datetime) -> None:
    text = iso(instant)
    assert text.endswith("Z")
    assert len(text) == len("2026-11-25T05:09:23.123Z")
    read = Stamped.model_validate_json(f'{{"at": "{text}"}}')
    assert abs(read.at - instant) < timedelta(milliseconds=1)
    assert read.model_dump_json() == f'{{"at":"{text}"}}'


def test_now_is_what_a_stored_instant_can_hold() -> None:
    assert now().tzinfo is UTC
    assert now().microsecond % 1000 == 0
