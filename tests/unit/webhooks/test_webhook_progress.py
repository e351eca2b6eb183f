"""How far a shard is settled, in whatever order its lanes finish."""

from hypothesis import given
from hypothesis import strategies as st

from postbus.webhooks.progress import Progress


def test_the_floor_rises_only_over_what_is_settled() -> None:
    progress = Progress(10)
    for seq in (12, 15, 19):
        assert progress.read(seq, "a")
    progress.settle(15)
    assert (progress.floor, progress.ahead, progress.oldest) == (10, [15], (12, "a"))
    progress.settle(12)
    assert (progress.floor, progress.ahead, progress.oldest) == (15, [], (19, "a"))
    progress.settle(12)
    progress.settle(19)
    assert (progress.floor, progress.ahead, progress.oldest, progress.reading) == (19, [], None, 19)


def test_what_an_earlier_owner_has_settled_is_not_handed_on_again() -> None:
    progress = Progress(10, [12, 14])
    assert [progress.read(seq, "a") for seq in (11, 12, 13, 14)] == [True, False, True, False]
    progress.settle(11)
    assert (progress.floor, progress.ahead) == (12, [14])
    progress.settle(13)
    assert (progress.floor, progress.ahead) == (14, [])


@given(st.permutations(range(1, 13)), st.integers(0, 12), st.integers(0, 12))
def test_after_a_crash_at_any_point_exactly_the_unsettled_is_handed_on(
    order: list[int], settled: int, read: int
) -> None:
    progress = Progress()
    for seq in range(1, read + 1):
        progress.read(seq, "a")
    done = {seq for seq in order[:settled] if seq <= read}
    for seq in order[:settled]:
        if seq in done:
            progress.settle(seq)
    heir = Progress(progress.floor, progress.ahead)
    handed_on = [seq for seq in range(heir.floor + 1, 13) if heir.read(seq, "a")]
    assert handed_on == [seq for seq in range(1, 13) if seq not in done]
