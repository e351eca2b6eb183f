"""The index of a mailbox: chunks of 1024 uids, 6 bytes a message, and only what changed is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.imap_sync.protocol.values import UidRange
from postbus.imap_sync.state.index import (
    SETS_FIELD,
    FlagSets,
    MailboxIndex,
    canonical,
    chunks_among,
    chunks_in,
    pack_chunk,
    parse_index,
)

UIDS = st.integers(1, 4_294_967_295)
FLAGS = st.lists(st.sampled_from(["\\Seen", "\\Flagged", "$Junk", "work", "\\Recent"]), max_size=4).map(tuple)
CONTENTS = st.dictionaries(UIDS, FLAGS, max_size=60)


def stored(index: MailboxIndex) -> dict[str, bytes]:
    written, _ = index.take_changes()
    return written


@given(CONTENTS)
def test_what_is_packed_comes_back(contents: dict[int, tuple[str, ...]]) -> None:
    index = MailboxIndex()
    index.fill(contents.items())
    again = parse_index(stored(index))
    assert {uid: again.get(uid) for uid in again.uids()} == {uid: canonical(flags) for uid, flags in contents.items()}
    assert list(again.uids()) == sorted(contents)
    assert len(again) == len(contents)


@given(CONTENTS, st.lists(st.tuples(UIDS, FLAGS)), st.data())
def test_writing_only_the_changes_is_as_good_as_writing_everything(
    contents: dict[int, tuple[str, ...]], puts: list[tuple[int, tuple[str, ...]]], data: st.DataObject
) -> None:
    index = MailboxIndex()
    index.fill(contents.items())
    fields = stored(index)
    for uid in data.draw(st.sets(st.sampled_from(sorted(contents)))) if contents else set():
        index.remove(uid)
    for uid, flags in puts:
        index.put(uid, flags)
    written, deleted = index.take_changes()
    fields = {name: packed for name, packed in (fields | written).items() if name not in deleted}
    again = parse_index(fields)
    assert {uid: again.get(uid) for uid in again.uids()} == {uid: index.get(uid) for uid in index.uids()}


@given(CONTENTS, st.lists(st.tuples(UIDS, UIDS).map(sorted), max_size=5))
def test_uids_of_ranges_are_found_without_walking_the_ranges(
    contents: dict[int, tuple[str, ...]], bounds: list[list[int]]
) -> None:
    index = MailboxIndex()
    index.fill(contents.items())
    for first, last in bounds:
        inside = [uid for uid in sorted(contents) if first <= uid <= last]
        assert index.uids_in([UidRange(first, last)]) == inside


def test_a_message_costs_six_bytes() -> None:
    assert len(pack_chunk(dict.fromkeys(range(1024), 3))) == 6 * 1024


def test_a_chunk_that_lost_its_last_message_is_deleted() -> None:
    index = MailboxIndex()
    index.fill([(5, ()), (5000, ())])
    index.take_changes()
    index.remove(5)
    assert index.take_changes() == ({}, ["0"])


def test_flags_that_are_known_already_do_not_write_the_sets_again() -> None:
    index = MailboxIndex()
    index.fill([(1, ("\\Seen",))])
    assert SETS_FIELD in stored(index)
    index.put(2, ("\\Seen",))
    assert SETS_FIELD not in stored(index)


def test_equal_sets_in_another_order_are_one_set() -> None:
    sets = FlagSets()
    assert sets.number_of(("a", "b")) == sets.number_of(("b", "a", "\\Recent"))
    assert len(sets) == 1


def test_sets_that_nobody_has_any_more_are_dropped_once_they_are_most() -> None:
    index = MailboxIndex()
    index.fill([(uid, (f"label {uid}",)) for uid in range(1, 2_000)])
    again = parse_index(stored(index))
    for uid in range(1, 2_000):
        again.put(uid, ("\\Seen",) if uid % 2 else ())
    again.compact()
    fields = stored(again)
    assert set(fields) == {SETS_FIELD, "0", "1"}
    compacted = parse_index(fields)
    assert len(compacted.sets) == 2
    assert [compacted.get(uid) for uid in range(1, 5)] == [("\\Seen",), (), ("\\Seen",), ()]
    compacted.compact()
    assert compacted.take_changes() == ({}, [])


def test_a_large_index_stays_packed_until_it_is_asked_for_a_message() -> None:
    """A million messages are never a million objects (trap 89)."""
    index = MailboxIndex()
    index.fill([(uid, ()) for uid in range(1, 10_000)])
    again = parse_index(stored(index))
    assert sum(1 for _ in again.uids()) == len(again) == 9_999
    assert again.get(5_000) == ()
    assert len(again.packed) == 9


@pytest.mark.parametrize(
    "fields", [{"sets": b"\xc1"}, {"0": b"12345"}, {"sets": b"\x90", "0": pack_chunk({1: 7})}], ids=str
)
def test_a_damaged_index_is_refused(fields: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="index"):
        parse_index(fields)


def test_chunks_of_ranges() -> None:
    assert chunks_in([UidRange(1, 1023), UidRange(2047, 2049)]) == {0, 1, 2}
    far = [UidRange(2047, 2049), UidRange(9_000, 4_294_967_295)]
    assert chunks_among([0, 1, 2, 7, 8, 4_000_000], far) == {1, 2, 8, 4_000_000}
