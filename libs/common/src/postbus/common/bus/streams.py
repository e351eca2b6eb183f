"""The streams, and their migration: idempotent, run by the start of `postbus up` or by the migration job.

`sync_interval: always` is the server's setting, not the stream's: acknowledged has to mean kept (see the ADR on it).
"""

from __future__ import annotations

from typing import Any

import nats.js.errors
import structlog
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    KeyValueConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from postbus.common.bus.connection import Bus
from postbus.common.errors import Unavailable

log = structlog.get_logger()

EVENTS, JOBS, RAW, DLQ, LANES = "EVENTS", "JOBS", "RAW", "DLQ", "LANES"
SEND_CONSUMER, FILE_CONSUMER = "sender-send", "sender-file"

DAY_S = 86_400.0
GIB = 1024**3
DUPLICATE_WINDOW_S = 600.0
MIN_API_LEVEL = 4  # nats-server 2.14: atomic batches and server-side schedules
SEND_ACK_WAIT_S = 20.0  # of silence; who works on a job speaks up every 5 s
MAX_SENDS_PENDING = 2_000

_LIMITS: dict[str, Any] = {
    "retention": RetentionPolicy.LIMITS,
    "storage": StorageType.FILE,
    "duplicate_window": DUPLICATE_WINDOW_S,
}


def stream_configs(replicas: int = 1) -> list[StreamConfig]:
    """What must exist, with `replicas` copies on a cluster."""
    return [
        StreamConfig(
            name=EVENTS,
            description="the log of everything that happened",
            subjects=["ee.events.*.*.*"],
            max_age=7 * DAY_S,
            max_bytes=16 * GIB,
            discard=DiscardPolicy.OLD,
            allow_direct=True,
            allow_atomic=True,
            num_replicas=replicas,
            **_LIMITS,
        ),
        StreamConfig(
            name=JOBS,
            description="submissions to deliver and to file, now or at their time",
            subjects=["ee.job.send.*.*", "ee.job.file.*.*", "ee.sch.*"],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            duplicate_window=DUPLICATE_WINDOW_S,
            discard=DiscardPolicy.OLD,  # schedules allow no other (nats-server 2.15); nothing is, without a limit
            allow_atomic=True,
            allow_msg_schedules=True,
            allow_msg_ttl=True,
            num_replicas=replicas,
        ),
        StreamConfig(
            name=RAW,
            description="bytes of submissions too large for their job",
            subjects=["ee.raw.*.*"],
            max_age=30 * DAY_S,
            max_bytes=32 * GIB,
            discard=DiscardPolicy.NEW,
            allow_direct=True,
            num_replicas=replicas,
            **_LIMITS,
        ),
        StreamConfig(
            name=DLQ,
            description="what was given up, with the reason",
            subjects=["ee.dlq.*.*"],
            max_age=30 * DAY_S,
            max_bytes=4 * GIB,
            discard=DiscardPolicy.OLD,
            allow_direct=True,
            num_replicas=replicas,
            **_LIMITS,
        ),
    ]


async def migrate_streams(bus: Bus, *, replicas: int = 1) -> None:
    """Create what is missing, update what is there; Unavailable when the server is too old or refuses."""
    info = await bus.js.account_info()
    if (info.api.level or 0) < MIN_API_LEVEL:
        raise Unavailable("nats-server 2.14 or newer is needed", code="BusTooOld")
    for config in stream_configs(replicas):
        try:
            await bus.js.add_stream(config)
        except nats.js.errors.BadRequestError:
            await bus.js.update_stream(config)
    try:
        await bus.js.create_key_value(KeyValueConfig(bucket=LANES, history=1, replicas=replicas))
    except nats.js.errors.BadRequestError:
        log.debug("bucket exists", bucket=LANES)
    for name, subject in ((SEND_CONSUMER, "ee.job.send.*.*"), (FILE_CONSUMER, "ee.job.file.*.*")):
        await bus.js.add_consumer(JOBS, work_consumer(name, subject))


def work_consumer(name: str, subject: str) -> ConsumerConfig:
    """A durable consumer of jobs. It never dead-letters by count: the handler does that, with a reason."""
    return ConsumerConfig(
        durable_name=name,
        filter_subject=subject,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=SEND_ACK_WAIT_S,
        max_deliver=-1,
        max_ack_pending=MAX_SENDS_PENDING,
    )
