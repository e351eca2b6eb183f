"""Many jobs at once, a few per account: a lane that is stuck costs the others nothing.

Jobs over a lane's capacity are not kept here: they would fill the bus's own window of jobs under way. They are sent
back to come again when the lane, at its present speed, will have room.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

MIN_DEFERRAL_S = 1.0
MAX_DEFERRAL_S = 300.0
_SMOOTHING = 0.3  # weight of the newest duration in the mean

Job = TypeVar("Job", bound=Hashable)


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """How many jobs run in a lane, how many wait in it, how many run in all."""

    parallel: int = 4
    waiting: int = 32
    total: int = 512


@dataclass(slots=True)
class _Lane(Generic[Job]):
    waiting: deque[Job] = field(default_factory=deque)
    running: int = 0
    in_trouble: bool = False
    mean_s: float = 0.1
    booked_until: float = 0.0


@dataclass(slots=True)
class Lanes(Generic[Job]):
    """Starts `run(job)` for each job as its lane allows; `run` says whether the account's server works.

    A lane in trouble runs one job at a time until one succeeds.
    """

    run: Callable[[Job], Awaitable[bool]]
    tasks: asyncio.TaskGroup
    limits: LaneLimits = field(default_factory=LaneLimits)
    jobs: int = 0  # running and waiting
    _running: int = 0
    _lanes: dict[str, _Lane[Job]] = field(default_factory=dict)
    _blocked: deque[str] = field(default_factory=deque)
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, key: str, job: Job) -> float | None:
        """Take the job, or say in how many seconds it should come again."""
        lane = self._lanes.setdefault(key, _Lane())
        if len(lane.waiting) >= self.limits.waiting:
            return self._book(lane)
        lane.waiting.append(job)
        self.jobs += 1
        self._start(key)
        return None

    async def room(self) -> int:
        """How many more jobs may be fetched; waits until there is at least one."""
        while (free := 2 * self.limits.total - self.jobs) <= 0:
            self._room.clear()
            await self._room.wait()
        return free

    def close(self) -> list[Job]:
        """Start nothing more; returns the jobs that were waiting."""
        waiting = [job for lane in self._lanes.values() for job in lane.waiting]
        for lane in self._lanes.values():
            lane.waiting.clear()
        self.jobs -= len(waiting)
        return waiting

    def _start(self, key: str) -> None:
        lane = self._lanes[key]
        while lane.waiting and lane.running < (1 if lane.in_trouble else self.limits.parallel):
            if self._running >= self.limits.total:
                self._blocked.append(key)
                return
            lane.running += 1
            self._running += 1
            self.tasks.create_task(self._work(key, lane, lane.waiting.popleft()))

    async def _work(self, key: str, lane: _Lane[Job], job: Job) -> None:
        started = time.monotonic()
        try:
            lane.in_trouble = not await self.run(job)
        finally:
            lane.mean_s += _SMOOTHING * (time.monotonic() - started - lane.mean_s)
            lane.running -= 1
            self._running -= 1
            self.jobs -= 1
            self._room.set()
        self._start(key)
        if not lane.running and not lane.waiting:
            self._lanes.pop(key, None)
        for _ in range(len(self._blocked)):
            if self._running >= self.limits.total:
                break
            if (blocked := self._blocked.popleft()) in self._lanes:
                self._start(blocked)

    def _book(self, lane: _Lane[Job]) -> float:
        """The next free slot behind all that were sent away before."""
        now = time.monotonic()
        parallel = 1 if lane.in_trouble else self.limits.parallel
        lane.booked_until = max(lane.booked_until, now + len(lane.waiting) * lane.mean_s / parallel)
        lane.booked_until = min(lane.booked_until + lane.mean_s / parallel, now + MAX_DEFERRAL_S)
        return max(lane.booked_until - now, MIN_DEFERRAL_S)
