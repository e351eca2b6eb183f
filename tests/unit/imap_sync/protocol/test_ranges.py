"""RFC 9051, sequence-set: uids as ranges."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import ProtocolError
from postbus.imap_sync.protocol import ranges
from postbus.imap_sync.protocol.values import UidRange

UIDS = st.sets(st.integers(1, 300), max_size=80)


@given(UIDS)
def test_ranges_hold_exactly_the_uids_they_were_made_of(uids: set[int]) -> None:
    made = ranges.to_ranges(uids)
    assert list(ranges.expand(made)) == sorted(uids)
    assert ranges.count(made) == len(uids)
    assert all(ranges.contains(made, uid) == (uid in uids) for uid in range(302))
    assert all(left.last + 1 < right.first for left, right in itertools.pairwise(made))


@given(UIDS, UIDS)
def test_ranges_behave_as_sets_do(left: set[int], right: set[int]) -> None:
    a, b = ranges.to_ranges(left), ranges.to_ranges(right)
    assert ranges.intersect(a, b) == ranges.to_ranges(left & right)
    assert ranges.subtract(a, b) == ranges.to_ranges(left - right)
    assert ranges.merge((*b, *a)) == ranges.to_ranges(left | right)


@given(UIDS)
def test_the_text_of_a_set_reads_as_the_same_set(uids: set[int]) -> None:
    made = ranges.to_ranges(uids)
    assert ranges.parse_set(ranges.compose_set(made)) == made


@given(UIDS, st.integers(10, 40))
def test_long_sets_are_split_below_the_limit_of_a_command(uids: set[int], max_chars: int) -> None:
    made = ranges.to_ranges(uids)
    groups = list(ranges.split(made, max_chars=max_chars))
    assert all(len(ranges.compose_set(group)) <= max_chars for group in groups)
    assert tuple(span for group in groups for span in group) == made


@given(UIDS, st.integers(1, 50))
def test_batches_have_the_size_that_was_asked_for(uids: set[int], size: int) -> None:
    made = ranges.to_ranges(uids)
    batches = list(ranges.cut(made, size))
    assert [uid for batch in batches for uid in ranges.expand(batch)] == sorted(uids)
    assert all(ranges.count(batch) == size for batch in batches[:-1])


def test_servers_may_turn_a_range_around_and_overlap_them() -> None:
    assert ranges.parse_set("9:7,8,1,2") == (UidRange(1, 2), UidRange(7, 9))


def test_four_billion_uids_are_one_range() -> None:
    """(quirk 55)."""
    everything = ranges.parse_set("1:4294967295")
    assert ranges.count(everything) == 4294967295


@pytest.mark.parametrize("text", ["0", "1:", ":2", "*", "1,,2", "4294967296", "1" * 100, "-1", "a", "1:2:3", "\u0663"])
def test_anything_else_is_a_protocol_error(text: str) -> None:
    with pytest.raises(ProtocolError):
        ranges.parse_set(text)


@given(st.text(alphabet="0123456789:,* a", max_size=40))
def test_any_text_is_a_set_or_a_protocol_error(text: str) -> None:
    try:
        ranges.parse_set(text)
    except ProtocolError:
        pass
