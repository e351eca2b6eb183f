"""Lanes: a few jobs per account at once, nobody behind somebody else's trouble, a bounded number in hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from postbus.sender.lanes import MAX_DEFERRAL_S, LaneLimits, Lanes

pytestmark = pytest.mark.anyio


@dataclass
class Work:
    """Jobs that end when they are told to."""

    running: list[str] = field(default_factory=list)
    most: int = 0
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    healthy: bool = True

    async def run(self, job: str) -> bool:
        self.running.append(job)
        self.most = max(self.most, len(self.running))
        gate = self.gates.get(job)
        if gate is not None:
            await gate.wait()
        self.running.remove(job)
        return self.healthy


@asynccontextmanager
async def lanes_for(work: Work, **limits: int) -> AsyncIterator[Lanes[str]]:
    async with asyncio.TaskGroup() as tasks:
        yield Lanes(work.run, tasks, LaneLimits(**{"parallel": 2, "waiting": 3, "total": 4, **limits}))
        for gate in work.gates.values():
            gate.set()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_lane_runs_a_few_jobs_and_keeps_a_few_waiting() -> None:
    work = Work(gates={f"a{n}": asyncio.Event() for n in range(9)})
    async with lanes_for(work) as lanes:
        offers = [lanes.offer("a", f"a{n}") for n in range(9)]
        await settle()
        assert work.running == ["a0", "a1"]
        assert [offer is None for offer in offers] == [True] * 5 + [False] * 4
        assert lanes.jobs == 5
    assert lanes.jobs == 0 and work.most == 2


async def test_a_full_lane_does_not_stop_another() -> None:
    work = Work(gates={f"a{n}": asyncio.Event() for n in range(5)})
    async with lanes_for(work) as lanes:
        for n in range(5):
            lanes.offer("a", f"a{n}")
        work.gates["b"] = asyncio.Event()
        lanes.offer("b", "b")
        await settle()
        assert "b" in work.running


async def test_jobs_sent_away_come_back_one_after_another_and_not_after_ages() -> None:
    work = Work(gates={f"a{n}": asyncio.Event() for n in range(99)})
    async with lanes_for(work) as lanes:
        delays = [delay for n in range(99) if (delay := lanes.offer("a", f"a{n}")) is not None]
        assert delays == sorted(delays) and delays[0] >= 1 and delays[-1] <= MAX_DEFERRAL_S
        assert delays[-1] > delays[0]


async def test_the_total_holds_and_who_was_held_back_goes_on_later() -> None:
    names = [f"{account}{n}" for account in "abcd" for n in range(2)]
    work = Work(gates={name: asyncio.Event() for name in names})
    async with lanes_for(work) as lanes:
        for name in names:
            assert lanes.offer(name[0], name) is None
        await settle()
        assert len(work.running) == 4
        for name in list(work.running):
            work.gates[name].set()
        await settle()
        assert sorted(work.running) == ["c0", "c1", "d0", "d1"]
    assert work.most == 4


async def test_a_lane_in_trouble_runs_one_job_at_a_time_until_one_succeeds() -> None:
    work = Work(gates={f"a{n}": asyncio.Event() for n in range(1, 5)}, healthy=False)
    async with lanes_for(work, waiting=9) as lanes:
        work.gates["a0"] = asyncio.Event()
        for n in range(5):
            lanes.offer("a", f"a{n}")
        await settle()
        work.gates["a0"].set()
        work.gates["a1"].set()
        await settle()
        assert work.running == ["a2"]
        work.healthy = True
        work.gates["a2"].set()
        await settle()
        assert work.running == ["a3", "a4"]


async def test_room_is_waited_for() -> None:
    work = Work(gates={f"{n}": asyncio.Event() for n in range(8)})
    async with lanes_for(work) as lanes:
        assert await lanes.room() == 8
        for n in range(8):
            lanes.offer(f"{n}", f"{n}")
        waiting = asyncio.create_task(lanes.room())
        await settle()
        assert not waiting.done()
        work.gates["0"].set()
        assert await waiting == 1


async def test_a_closed_set_of_lanes_returns_what_was_waiting_and_starts_nothing() -> None:
    work = Work(gates={f"a{n}": asyncio.Event() for n in range(4)})
    async with lanes_for(work) as lanes:
        for n in range(4):
            lanes.offer("a", f"a{n}")
        await settle()
        assert lanes.close() == ["a2", "a3"]
        work.gates["a0"].set()
        await settle()
        assert work.running == ["a1"]
