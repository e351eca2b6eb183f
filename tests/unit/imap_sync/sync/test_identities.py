"""Which messages were announced before, under whatever uid: enough to know old mail again, and no more than that."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from postbus.imap_sync.protocol.values import Fetched, MessageEnvelope
from postbus.imap_sync.state.identities import (
    BUCKETS,
    KEPT_S,
    MAX_ENTRIES,
    Identity,
    Seen,
    begin_at,
    buckets_of,
    identity_of,
    pack_bucket,
    parse_bucket,
)

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
MAIL = MessageEnvelope(date=b"Wed, 25 Nov 2026 12:00:00 +0000", subject=b"hello", message_id=b"<1@test>")
NOW = int(AT.timestamp())
ROW = Fetched(1, 7, ("\\Seen",), size=1234, internal_date=AT, envelope=MAIL)


def identified(row: Fetched) -> Identity:
    identity = identity_of(row)
    assert identity is not None
    return identity


def test_a_message_is_the_same_whatever_its_uid_flags_and_arrival() -> None:
    moved = replace(ROW, seq=9, uid=1, flags=(), internal_date=AT + timedelta(hours=1))
    assert identified(moved).keys == identified(ROW).keys


def test_another_size_date_or_message_id_is_another_message() -> None:
    others = [
        replace(ROW, size=1235),
        replace(ROW, envelope=replace(MAIL, date=b"Wed, 25 Nov 2026 12:00:01 +0000")),
        replace(ROW, envelope=replace(MAIL, message_id=b"<2@test>")),
    ]
    assert len({identified(row).keys for row in (ROW, *others)}) == 4


def test_the_server_s_own_id_is_surest_but_not_all_that_counts_after_a_reset() -> None:
    seen = Seen(since=0)
    seen.put(identified(replace(ROW, email_id="a")))
    copy = identified(replace(ROW, email_id="b"))
    assert not seen.was_announced(copy)  # delivered twice, not moved
    assert not seen.is_new(copy)  # the mailbox may have moved to a server with other ids


def test_without_a_message_id_everything_else_has_to_be_the_same() -> None:
    bare = replace(ROW, envelope=replace(MAIL, message_id=None))
    other = replace(bare, envelope=replace(MAIL, message_id=None, subject=b"else"))
    assert identified(bare).keys != identified(other).keys
    assert identity_of(Fetched(1, 7, internal_date=AT)) is None


def test_what_arrived_before_anything_was_kept_is_never_called_new() -> None:
    arrived = int(AT.timestamp())
    assert not Seen().is_new(identified(ROW))
    assert not Seen(since=arrived + 1).is_new(identified(ROW))
    assert Seen(since=arrived).is_new(identified(ROW))


def test_what_arrived_in_the_very_second_in_which_keeping_began_is_not_called_new() -> None:
    seen = Seen(begin_at(1_700_000_000.9), {})
    assert not seen.is_new(Identity((1,), 1_700_000_000))
    assert seen.is_new(Identity((1,), 1_700_000_001))


def test_memory_is_bounded_and_what_fell_out_of_it_is_never_called_new() -> None:
    seen = Seen(since=0)
    told = [Identity((number * BUCKETS,), NOW + number) for number in range(MAX_ENTRIES + 5)]
    for identity in told:
        seen.put(identity)
    assert not any(seen.is_new(identity) for identity in told)
    assert not seen.was_announced(told[0])
    assert not seen.is_new(Identity((999 * BUCKETS,), NOW + 4))  # it may have been told of, and forgotten
    assert seen.is_new(Identity((999 * BUCKETS,), NOW + 5))
    assert seen.is_new(Identity((999 * BUCKETS + 1,), 1))  # another bucket, which has forgotten nothing
    [packed] = seen.take_changes(NOW).values()
    assert len(packed) <= 4 + MAX_ENTRIES * 12
    assert not seen.take_changes(NOW)


def test_after_two_days_the_date_alone_tells() -> None:
    seen = Seen(since=0)
    seen.put(old := Identity((1,), NOW - KEPT_S - 1))
    seen.put(recent := Identity((1 + BUCKETS,), NOW - KEPT_S + 1))
    seen.take_changes(NOW)
    assert (seen.was_announced(old), seen.was_announced(recent)) == (False, True)
    assert not seen.is_new(old)


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(NOW - KEPT_S, 2**32 - 1)), max_size=200))
def test_what_is_stored_reads_the_same(told: list[tuple[int, int]]) -> None:
    seen = Seen(since=0)
    for key, arrived in told:
        seen.put(Identity((key,), arrived))
    written = seen.take_changes(NOW)
    again = Seen(0, {int(number): parse_bucket(packed) for number, packed in written.items()})
    assert {int(number) for number in written} == buckets_of(Identity((key,)) for key, _ in told)
    for key, arrived in told:
        asked = Identity((key,), arrived)
        assert (again.was_announced(asked), again.is_new(asked)) == (seen.was_announced(asked), seen.is_new(asked))


@given(st.binary(max_size=60))
def test_a_damaged_bucket_calls_nothing_new(packed: bytes) -> None:
    bucket = parse_bucket(packed)
    whole = len(packed) >= 4 and (len(packed) - 4) % 12 == 0
    assert whole or not Seen(0, {1: bucket}).is_new(Identity((1,), 2**32 - 1))
    assert parse_bucket(pack_bucket(bucket)) == bucket
