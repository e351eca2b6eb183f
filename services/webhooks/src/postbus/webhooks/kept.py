"""The bucket LANES as one owner of a shard sees it: read all of it at start, then write, fenced by the checkpoint.

The checkpoint is only ever replaced at the revision we know, so who lost the shard without noticing is refused. Records
of lanes are written after such a check (`keeper`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import nats.errors
import nats.js.errors
import structlog
from nats.js.kv import KeyValue

from postbus.common.bus.connection import Bus
from postbus.common.bus.streams import LANES
from postbus.common.errors import PostbusError, Unavailable
from postbus.webhooks import records
from postbus.webhooks.records import Checkpoint, LaneRecord

log = structlog.get_logger()

LOAD_TIMEOUT_S = 5.0

_WRONG_REVISION = 10071  # JSStreamWrongLastSequence


class Fenced(PostbusError):
    """Somebody else has written the checkpoint: the shard is not ours any more. `epoch` is theirs."""

    code = "Fenced"

    def __init__(self, epoch: int) -> None:
        super().__init__("another worker owns the shard")
        self.epoch = epoch


@dataclass(slots=True)
class Kept:
    """What is kept of a shard: the checkpoint with its revision, and the records of lanes by account token."""

    bus: Bus
    shard: int
    revision: int = 0
    checkpoint: Checkpoint | None = None
    lanes: dict[str, LaneRecord] = field(default_factory=dict)

    async def load(self) -> None:
        """Read all of the shard's keys; Unavailable when the bus is away."""
        self.revision, self.checkpoint, self.lanes = 0, None, {}
        try:
            bucket = await self.bus.js.key_value(LANES)
            watcher: Any = await bucket.watch(f"{self.shard}.>", ignore_deletes=True)
            try:
                while (entry := await watcher.updates(timeout=LOAD_TIMEOUT_S)) is not None:
                    self._take(entry)
            finally:
                await watcher.stop()
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
            raise _unavailable(error) from error

    async def put_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint; Fenced when it is not the one we know any more, Unavailable without the bus."""
        key = records.position_key(self.shard)
        expected = {"Nats-Expected-Last-Subject-Sequence": str(self.revision)}
        try:
            self.revision = await self._put(key, records.pack(checkpoint), expected)
        except _WrongRevisionError:
            await self._adopt_own_write(checkpoint)

    async def put_lane(self, token: str, record: LaneRecord) -> None:
        """Write the record of a lane; Unavailable without the bus."""
        await self._put(records.lane_key(self.shard, token), records.pack(record), {})

    async def drop_lane(self, token: str) -> None:
        """Remove the record of a lane; Unavailable without the bus."""
        await self._put(records.lane_key(self.shard, token), b"", {"KV-Operation": "DEL"})

    def _take(self, entry: KeyValue.Entry) -> None:
        try:
            if entry.key == records.position_key(self.shard):
                self.revision = entry.revision or 0
                self.checkpoint = records.unpack_checkpoint(entry.value or b"")
            elif (token := records.token_of(entry.key)) is not None:
                self.lanes[token] = records.unpack_lane(entry.value or b"")
        except msgspec.DecodeError as error:
            log.error("unreadable record is ignored", key=entry.key, error=str(error))

    async def _put(self, key: str, value: bytes, headers: Mapping[str, str]) -> int:
        try:
            ack = await self.bus.js.publish(f"$KV.{LANES}.{key}", value, headers=dict(headers) or None)
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
            if isinstance(error, nats.js.errors.APIError) and error.err_code == _WRONG_REVISION:
                raise _WrongRevisionError from error
            raise _unavailable(error) from error
        return int(ack.seq)

    async def _adopt_own_write(self, checkpoint: Checkpoint) -> None:
        """An acknowledgement that got lost looks like a stranger's write: tell them apart by the owner."""
        try:
            stored = await self.bus.js.get_last_msg(f"KV_{LANES}", f"$KV.{LANES}.{records.position_key(self.shard)}")
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
            raise _unavailable(error) from error
        theirs = records.unpack_checkpoint(stored.data or b"")
        if theirs.owner != checkpoint.owner:
            raise Fenced(theirs.epoch)
        self.revision = int(stored.seq or 0)
        await self.put_checkpoint(checkpoint)


class _WrongRevisionError(Exception):
    """The key is not at the revision that was expected."""


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"bus: {error or type(error).__name__}", code="BusUnavailable")
