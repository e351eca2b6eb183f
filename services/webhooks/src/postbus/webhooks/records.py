"""What outlives a worker, in the bucket LANES: a checkpoint per shard and a record per parked lane.

Keys: `<shard>.position`, and `<shard>.<route>.<account token>`. Values are JSON; times are Unix seconds.
"""

from __future__ import annotations

import msgspec

ROUTE = "main"  # the settings' target, which an account's own target replaces


class Checkpoint(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Everything at or below `floor` and all of `ahead` is settled. `owner` is `worker|epoch` of who wrote it."""

    owner: str
    epoch: int
    floor: int = 0
    ahead: list[int] = []


class LaneRecord(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A lane that delivers from the log: nothing of its account at or above `position` is settled.

    `attempt` counts the tries of the event at `position`, `failures` those in a row of the lane since `first_failure`.
    """

    position: int
    attempt: int = 0
    failures: int = 0
    next_try: float = 0.0
    first_failure: float = 0.0
    reason: str = ""


_CHECKPOINT = msgspec.json.Decoder(Checkpoint)
_LANE = msgspec.json.Decoder(LaneRecord)


def position_key(shard: int) -> str:
    """Where the checkpoint of a shard is."""
    return f"{shard}.position"


def lane_key(shard: int, token: str) -> str:
    """Where the record of a lane is."""
    return f"{shard}.{ROUTE}.{token}"


def token_of(key: str) -> str | None:
    """The account of a lane's key; None for other keys of the shard and routes we do not know."""
    _, route, *token = key.split(".")
    return token[0] if route == ROUTE and len(token) == 1 else None


def pack(record: Checkpoint | LaneRecord) -> bytes:
    """A record as it is stored."""
    return msgspec.json.encode(record)


def unpack_checkpoint(value: bytes) -> Checkpoint:
    """Read a checkpoint; msgspec.DecodeError when it is none."""
    return _CHECKPOINT.decode(value)


def unpack_lane(value: bytes) -> LaneRecord:
    """Read the record of a lane; msgspec.DecodeError when it is none."""
    return _LANE.decode(value)
