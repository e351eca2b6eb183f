"""How events are cut into pieces that the server takes as one batch."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from postbus.common.bus.batch import MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, batches
from postbus.common.events import Envelope


def envelope(size: int) -> Envelope:
    return Envelope(UUID(int=1), "a", "a", "messageNew", b"x" * size)


@given(st.lists(st.sampled_from([1, 1000, 256 * 1024]), max_size=60))
def test_pieces_keep_order_and_limits(sizes: list[int]) -> None:
    events = [envelope(size) for size in sizes]
    pieces = batches(events)
    assert [event for piece in pieces for event in piece] == events
    for piece in pieces:
        assert 1 <= len(piece) <= MAX_BATCH_MESSAGES
        assert len(piece) == 1 or sum(len(event.body) for event in piece) <= MAX_BATCH_BYTES


def test_many_small_events_are_cut_by_their_number() -> None:
    assert [len(piece) for piece in batches([envelope(1)] * 1201)] == [500, 500, 201]


def test_nothing_is_no_batch() -> None:
    assert batches([]) == []
