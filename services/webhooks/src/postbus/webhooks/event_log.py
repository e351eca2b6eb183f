"""Reading the event log: a shard in order as it grows, and one account's part of it from a position.

A shard is read through a pull consumer of our own without acknowledgements, made anew after every interruption at the
position we know; an account's part by batched direct gets (ADR-31), which need no consumer at all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import NAMESPACE_OID, uuid5

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from postbus.common.bus.connection import Bus
from postbus.common.bus.streams import EVENTS
from postbus.common.errors import Unavailable

log = structlog.get_logger()

BATCH = 128
BATCH_BYTES = 1024 * 1024  # more than the largest event
LANE_BATCH = 64
LANE_BATCH_BYTES = 512 * 1024
PULL_EXPIRES_S = 60.0
HEARTBEAT_S = 20.0
SILENCE_S = 45.0  # more than two heartbeats: whom we asked is gone
INACTIVE_S = 120.0
FETCH_TIMEOUT_S = 5.0
REOPEN_S = 0.25

_NS = 1_000_000_000
_REQUEST_DONE = frozenset({"404", "408"})


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One event of the log. `at` is when the log took it, in Unix seconds; `headers` carry the trace."""

    seq: int
    token: str
    event: str
    event_id: str
    at: float
    body: bytes
    headers: Mapping[str, str]


class ShardReader:
    """Yields the events of a shard after a position, in order, each once; waits while there are none or no bus."""

    def __init__(self, bus: Bus, shard: int, after: int) -> None:
        self._bus = bus
        self._shard = shard
        self._position = after
        self._frames: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._subscription: Subscription | None = None
        self._consumer = ""
        self._expected = 1  # sequence of the consumer: a gap means something got lost on the way
        self._wanted = 0  # messages of the current request that are still to come

    async def read(self) -> LoggedEvent:
        """The next event."""
        while True:
            try:
                if self._subscription is None:
                    await self._open()
                if self._wanted == 0:
                    await self._ask()
                event = self._take(await self._frame())
            except _InterruptedError as interruption:
                log.debug("shard reader starts anew", shard=self._shard, reason=str(interruption))
                await self.close()
                await asyncio.sleep(REOPEN_S)
                continue
            if event is not None:
                return event

    def reset(self) -> None:
        """Start anew at the position: the connection was lost in between."""
        self._frames.put_nowait(None)

    async def close(self) -> None:
        """Leave nothing behind; what can't be removed now the server drops by itself."""
        subscription, self._subscription = self._subscription, None
        self._frames = asyncio.Queue()
        if subscription is None:
            return
        with suppress(nats.errors.Error, nats.js.errors.Error, TimeoutError):
            await subscription.unsubscribe()
            await self._bus.js.delete_consumer(EVENTS, self._consumer)

    async def _open(self) -> None:
        config = ConsumerConfig(
            filter_subject=f"ee.events.*.*.{self._shard}",
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._position + 1,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=INACTIVE_S,
            mem_storage=True,
            num_replicas=1,
        )
        try:
            info = await self._bus.js.add_consumer(EVENTS, config)
            self._consumer, self._expected, self._wanted = info.name, 1, 0
            self._subscription = await self._bus.nc.subscribe(self._bus.nc.new_inbox(), cb=self._frames.put)
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
            raise _InterruptedError(str(error) or type(error).__name__) from error

    async def _ask(self) -> None:
        assert self._subscription is not None
        request = {
            "batch": BATCH,
            "max_bytes": BATCH_BYTES,
            "expires": int(PULL_EXPIRES_S * _NS),
            "idle_heartbeat": int(HEARTBEAT_S * _NS),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS}.{self._consumer}"
        try:
            await self._bus.nc.publish(subject, json.dumps(request).encode(), reply=self._subscription.subject)
        except nats.errors.Error as error:
            raise _InterruptedError(str(error)) from error
        self._wanted = BATCH

    async def _frame(self) -> Msg:
        try:
            async with asyncio.timeout(SILENCE_S):
                frame = await self._frames.get()
        except TimeoutError as error:
            raise _InterruptedError("silence") from error
        if frame is None:
            raise _InterruptedError("reconnected")
        return frame

    def _take(self, frame: Msg) -> LoggedEvent | None:
        headers = frame.headers or {}
        if status := headers.get("Status"):
            self._on_status(status, headers.get("Description", ""))
            return None
        sequence = frame.metadata.sequence
        if sequence.consumer != self._expected:
            raise _InterruptedError("gap")
        self._expected += 1
        self._wanted -= 1
        self._position = sequence.stream
        return _logged(frame.subject, sequence.stream, frame.metadata.timestamp.timestamp(), frame.data, headers)

    def _on_status(self, status: str, description: str) -> None:
        if status == "100" or "Batch Completed" in description:  # a heartbeat, or what counting has told already
            return
        if status not in _REQUEST_DONE and "MaxBytes" not in description:
            raise _InterruptedError(f"{status} {description}")
        self._wanted = 0


async def fetch_lane(bus: Bus, shard: int, token: str, position: int) -> list[LoggedEvent]:
    """Events of an account at or after a position, in order, some of them; Unavailable when the bus is away.

    A server that answers may lag behind the leader: nothing found is no proof that there is nothing (`lane_continues`).
    """
    request = {
        "seq": position,
        "next_by_subj": _lane_subject(shard, token),
        "batch": LANE_BATCH,
        "max_bytes": LANE_BATCH_BYTES,
    }
    frames: asyncio.Queue[Msg] = asyncio.Queue()
    events = []
    try:
        subscription = await bus.nc.subscribe(bus.nc.new_inbox(), cb=frames.put)
        try:
            payload = json.dumps(request).encode()
            await bus.nc.publish(f"$JS.API.DIRECT.GET.{EVENTS}", payload, reply=subscription.subject)
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                while (event := _direct(await frames.get())) is not None:
                    events.append(event)
        finally:
            await subscription.unsubscribe()
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"bus: {error or type(error).__name__}", code="BusUnavailable") from error
    return events


async def lane_continues(bus: Bus, shard: int, token: str, position: int, upto: int) -> bool:
    """Whether the log, as its leader knows it, holds an event of the account from `position` to `upto`."""
    try:
        found = await bus.js.get_msg(EVENTS, seq=position, subject=_lane_subject(shard, token), next=True)
    except nats.js.errors.NotFoundError:
        return False
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
        raise Unavailable(f"bus: {error or type(error).__name__}", code="BusUnavailable") from error
    return bool((found.seq or 0) <= upto)


async def log_bounds(bus: Bus) -> tuple[int, int]:
    """First and last sequence of the log; Unavailable when the bus is away."""
    try:
        state = (await bus.js.stream_info(EVENTS)).state
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
        raise Unavailable(f"bus: {error or type(error).__name__}", code="BusUnavailable") from error
    return int(state.first_seq), int(state.last_seq)


class _InterruptedError(Exception):
    """Reading has to start anew; the message is for the log."""


def _direct(frame: Msg) -> LoggedEvent | None:
    """One answer of a direct get; None for the end."""
    headers = frame.headers or {}
    if status := headers.get("Status"):
        if status in ("204", "404"):
            return None
        raise Unavailable(f"bus: {status} {headers.get('Description', '')}", code="BusUnavailable")
    at = datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
    return _logged(headers["Nats-Subject"], int(headers["Nats-Sequence"]), at, frame.data, headers)


def _logged(subject: str, seq: int, at: float, body: bytes, headers: Mapping[str, str]) -> LoggedEvent:
    _, _, token, event, _ = subject.split(".")
    event_id = headers.get("Ee-Event-Id") or str(uuid5(NAMESPACE_OID, f"{EVENTS}/{seq}"))
    return LoggedEvent(seq, token, event, event_id, at, body, headers)


def _lane_subject(shard: int, token: str) -> str:
    return f"ee.events.{token}.*.{shard}"
