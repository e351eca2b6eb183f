"""The plan of placement: the same everywhere, balanced, and stable when workers come and go."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from postbus.common.placement import plan_owners

WORKERS = st.lists(st.text("abcdef0123456789-", min_size=1, max_size=20), unique=True, min_size=1, max_size=12)
PARTITIONS = 256


@given(WORKERS.flatmap(lambda workers: st.tuples(st.just(workers), st.permutations(workers))))
def test_every_worker_computes_the_same_plan(orders: tuple[list[str], list[str]]) -> None:
    assert plan_owners(orders[0], PARTITIONS) == plan_owners(orders[1], PARTITIONS)


@given(WORKERS)
def test_everything_is_owned_and_nobody_has_more_than_his_share(workers: list[str]) -> None:
    plan = plan_owners(sorted(workers), PARTITIONS)
    assert plan.keys() == set(range(PARTITIONS))
    assert max(Counter(plan.values()).values()) <= -(-PARTITIONS // len(workers))


def test_without_workers_nothing_is_owned() -> None:
    assert plan_owners([], PARTITIONS) == {}


def test_loads_of_four_workers_are_even() -> None:
    loads = Counter(plan_owners(["host-1", "host-2", "host-3", "host-4"], PARTITIONS).values())
    assert set(loads.values()) == {64}


def test_few_partitions_move_when_a_worker_comes_or_goes() -> None:
    workers = [f"host-{number}" for number in range(4)]
    before, after = plan_owners(workers, PARTITIONS), plan_owners(workers[:3], PARTITIONS)
    moved = [p for p in before if before[p] != after[p]]
    lost = [p for p in before if before[p] == "host-3"]
    assert set(lost) <= set(moved)
    assert len(moved) - len(lost) <= PARTITIONS * 0.15
