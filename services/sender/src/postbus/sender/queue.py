"""Jobs from the bus: fetched as there is room, kept alive while they are worked on, answered once.

A job that nobody can read, or that fails in ways nobody expected again and again, goes to the dead letters: one bad
job never stops the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from postbus.common import telemetry
from postbus.common.accounts import Account
from postbus.common.bus.connection import Bus
from postbus.common.bus.streams import JOBS
from postbus.common.errors import PostbusError
from postbus.common.jobs import Filing, Submission
from postbus.common.times import iso, now
from postbus.sender.lanes import LaneLimits, Lanes

log = structlog.get_logger()

FETCH_S: Final = 5.0
MAX_BATCH: Final = 64
KEEP_ALIVE_S: Final = 5.0
AGAIN_S: Final = 5.0  # after a part of ours was away
UNEXPECTED_AGAIN_S: Final = 60.0
MAX_DELIVERIES: Final = 20  # of a job that ends in an exception nobody expected
ACK_TIMEOUT_S: Final = 5.0
DRAIN_S: Final = 20.0


class Postpone(PostbusError):
    """Hand the job back, to come again after `delay_s`; nothing has happened to it."""

    def __init__(self, reason: str, delay_s: float) -> None:
        super().__init__(reason)
        self.delay_s = delay_s


@dataclass(eq=False, slots=True)
class QueuedJob:
    """A job under way. `keep_alive` runs while it is worked on, beside telling the bus."""

    message: Msg
    token: str
    sequence: int
    deliveries: int
    keep_alive: Callable[[], Awaitable[None]] | None = None

    @classmethod
    def of(cls, message: Msg) -> QueuedJob:
        """Read what the bus says about it."""
        metadata = message.metadata
        token = message.subject.split(".")[3]
        return cls(message, token, metadata.sequence.stream, metadata.num_delivered or 1)


Handle = Callable[[QueuedJob], Awaitable[bool]]


@dataclass(slots=True)
class JobQueue:
    """One durable consumer. `handle(job)` does the work and says whether the account's server works; then it is acked.

    What it raises decides otherwise: Postpone and other errors of ours bring the job back later.
    """

    bus: Bus
    consumer: str
    handle: Handle
    limits: LaneLimits = field(default_factory=LaneLimits)
    again_s: float = AGAIN_S
    _under_way: dict[int, QueuedJob] = field(default_factory=dict)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _subscription: JetStreamContext.PullSubscription | None = None
    _stopping: bool = False

    async def run(self) -> None:
        """Work until cancelled; then finish what is under way, for a while."""
        async with asyncio.TaskGroup() as tasks:
            lanes = Lanes(self._work, tasks, self.limits)
            alive = tasks.create_task(self._keep_alive())
            fetching = tasks.create_task(self._fetch(lanes))
            try:
                await asyncio.Event().wait()
            finally:
                self._stopping = True
                fetching.cancel()
                await asyncio.wait([fetching])
                await self._leave()
                for job in lanes.close():
                    await _answer(job.message.nak())
                    self._under_way.pop(job.sequence, None)
                await self._drain()
                alive.cancel()

    async def _fetch(self, lanes: Lanes[QueuedJob]) -> None:
        """Fetch as there is room. `_stopping` is asked too: the client library may swallow a cancellation."""
        self._subscription = subscription = await self._bind()
        while not self._stopping:
            room = await lanes.room()
            try:
                messages = await subscription.fetch(min(room, MAX_BATCH), timeout=FETCH_S)
            except (nats.errors.TimeoutError, TimeoutError):
                continue
            except (nats.errors.Error, nats.js.errors.Error) as error:
                log.warning("jobs could not be fetched", consumer=self.consumer, error=str(error))
                await asyncio.sleep(1)
                continue
            for message in messages:
                await self._take(lanes, QueuedJob.of(message))

    async def _bind(self) -> JetStreamContext.PullSubscription:
        """The consumer; waits until somebody has made it."""
        while True:
            try:
                await self.bus.js.consumer_info(JOBS, self.consumer)
                return await self.bus.js.pull_subscribe_bind(self.consumer, JOBS)
            except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
                log.warning("waiting for the queue", consumer=self.consumer, error=str(error))
                await asyncio.sleep(1)

    async def _take(self, lanes: Lanes[QueuedJob], job: QueuedJob) -> None:
        if job.sequence in self._under_way:
            return  # the bus thinks we lost it; we did not
        again = lanes.offer(job.token, job)
        if again is None:
            self._under_way[job.sequence] = job
            return
        try:
            await reschedule(self.bus, job, timedelta(seconds=again))
        except PostbusError:
            await _answer(job.message.nak(delay=again))
            return
        await _answer(job.message.ack())

    async def _work(self, job: QueuedJob) -> bool:
        try:
            with telemetry.span(f"job {self.consumer}", parent=job.message.headers or {}):
                healthy = await self.handle(job)
            await _answer(job.message.ack_sync(timeout=ACK_TIMEOUT_S))
        except Postpone as error:
            log.debug("job postponed", reason=error.message, delay=error.delay_s)
            await _answer(job.message.nak(delay=error.delay_s))
            return True
        except PostbusError as error:
            log.warning("job comes again", consumer=self.consumer, reason=error.message, code=error.code)
            await _answer(job.message.nak(delay=self.again_s))
            return True
        except Exception:
            log.exception("job failed", consumer=self.consumer, deliveries=job.deliveries)
            await self._unexpected(job)
            return True
        finally:
            self._under_way.pop(job.sequence, None)
            self._ended.set()
        return healthy

    async def _unexpected(self, job: QueuedJob) -> None:
        if job.deliveries < MAX_DELIVERIES:
            await _answer(job.message.nak(delay=UNEXPECTED_AGAIN_S))
            return
        try:
            await put_dead_letter(self.bus, job, "failed in ways nobody expected")
        except PostbusError:
            await _answer(job.message.nak(delay=UNEXPECTED_AGAIN_S))
            return
        await _answer(job.message.ack_sync(timeout=ACK_TIMEOUT_S))

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_S)
            for job in list(self._under_way.values()):
                await _answer(job.message.in_progress())
                if job.keep_alive is not None:
                    with suppress(PostbusError):
                        await job.keep_alive()

    async def _leave(self) -> None:
        """Fetch nothing more; what came in meanwhile goes to others at once, not after the time of a lost job."""
        if self._subscription is None:
            return
        await _answer(self._subscription.unsubscribe())
        arrived = self._subscription._sub._pending_queue
        while not arrived.empty():
            message = arrived.get_nowait()
            if message.subject.startswith("ee.job."):
                await _answer(message.nak())

    async def _drain(self) -> None:
        """Give deliveries that have begun the time to end: cutting one after its end of data makes it uncertain."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while any(job.keep_alive is not None for job in self._under_way.values()):
                    self._ended.clear()
                    await self._ended.wait()


def is_of(job: Submission | Filing, account: Account) -> bool:
    """Whether this very account gave the job, not an earlier one that was removed and had the same id."""
    return job.account == account.record.account and job.account_born_as in (None, account.born_as)


async def reschedule(bus: Bus, job: QueuedJob, delay: timedelta) -> None:
    """Send a job away to come again by the server's own clock, so that it does not count as under way.

    The caller acks it then. Idempotent by the job's place in the stream. Unavailable when the bus is away.
    """
    kind, token, queue_id = job.message.subject.split(".")[2:5]
    headers = {
        **telemetry.inject(),
        "Nats-Msg-Id": f"again:{job.sequence}",
        "Nats-Schedule": f"@at {iso(now() + delay)}",
        "Nats-Schedule-Target": f"ee.job.{kind}.{token}.{queue_id}",
    }
    await bus.publish(f"ee.sch.{kind}-{queue_id}", job.message.data, headers)


async def put_dead_letter(bus: Bus, job: QueuedJob, reason: str, **headers: str) -> None:
    """Keep a job that is given up, with the reason; idempotent by its queue id."""
    kind, _, queue_id = job.message.subject.split(".")[2:5]
    shown = " ".join(reason.encode("ascii", "replace").decode().split())[:500]
    facts = {"Nats-Msg-Id": f"dlq:{kind}:{queue_id}", "Ee-Reason": shown, **headers}
    await bus.publish(f"ee.dlq.{kind}.{queue_id}", job.message.data, facts)


async def _answer(answer: Awaitable[object]) -> None:
    """Tell the bus. When that fails the job comes again, and everything done for it is idempotent."""
    try:
        await answer
    except (nats.errors.Error, TimeoutError) as error:
        log.debug("job could not be answered", error=str(error) or type(error).__name__)
