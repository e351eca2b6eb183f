"""Submissions into and out of JetStream: bytes first, then the job, and only then anybody is told it is accepted."""

from __future__ import annotations

import nats.errors
import nats.js.errors

from postbus.common import ids, jobs, telemetry
from postbus.common.bus.connection import Bus
from postbus.common.bus.streams import JOBS, RAW
from postbus.common.errors import TooLarge, Unavailable
from postbus.common.jobs import Filing, Submission
from postbus.common.times import iso, now

HEADER_BYTES = 4096  # room for the headers of a job


async def put_submission(bus: Bus, submission: Submission, raw: bytes) -> None:
    """Keep a submission; when this returns it is on disk. Unavailable when the store of jobs is full or away.

    TooLarge when the job itself, which names all recipients, is more than the bus carries. Idempotent by queue id and
    attempt. A crash in between leaves bytes without a job: nobody was told, they expire.
    """
    inline = raw if len(raw) <= jobs.MAX_INLINE_BYTES else b""
    if len(jobs.pack_job(submission, inline)) + HEADER_BYTES > bus.nc.max_payload:
        raise TooLarge("The message has too many recipients")
    await bus.jobs_room.check(bus.js)
    if not inline and submission.attempt == 1:
        await put_raw(bus, submission.raw_name, raw)
    await schedule_submission(bus, submission, inline)


async def schedule_submission(bus: Bus, submission: Submission, inline: bytes) -> None:
    """Put the job where it is due now, or where it waits for `send_at` (server-side schedule, nats-server 2.14)."""
    token = ids.account_token(submission.account)
    payload = jobs.pack_job(submission, inline)
    headers = {"Nats-Msg-Id": f"send:{submission.queue_id}:{submission.attempt}", **telemetry.inject()}
    due = jobs.send_subject(token, submission.queue_id)
    if submission.send_at <= now():
        await bus.publish(due, payload, headers)
        return
    timer = {"Nats-Schedule": f"@at {iso(submission.send_at)}", "Nats-Schedule-Target": due}
    await bus.publish(jobs.schedule_subject(submission.queue_id), payload, {**headers, **timer})


async def is_queued(bus: Bus, token: str, queue_id: str) -> bool:
    """Whether the submission waits, for its time or to be sent; Unavailable when the bus is away."""
    waiting = (jobs.schedule_subject(queue_id), jobs.schedule_subject(f"send-{queue_id}"))
    for subject in (jobs.send_subject(token, queue_id), *waiting):
        try:
            await bus.js.get_last_msg(JOBS, subject)
        except nats.js.errors.NotFoundError:
            continue
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
            raise Unavailable(f"bus: {error or type(error).__name__}", code="BusUnavailable") from error
        return True
    return False


async def put_filing(bus: Bus, filing: Filing, inline: bytes) -> None:
    """Keep a filing; idempotent by queue id."""
    headers = {"Nats-Msg-Id": f"file:{filing.queue_id}", **telemetry.inject()}
    subject = jobs.file_subject(ids.account_token(filing.account), filing.queue_id)
    await bus.publish(subject, jobs.pack_job(filing, inline), headers)


async def put_raw(bus: Bus, raw_name: str, raw: bytes) -> None:
    """Keep the bytes of a message in RAW, `chunk_count` pieces; Unavailable when it is full or away."""
    for chunk in range(chunk_count(len(raw))):
        piece = raw[chunk * jobs.RAW_CHUNK_BYTES : (chunk + 1) * jobs.RAW_CHUNK_BYTES]
        await bus.publish(jobs.raw_subject(raw_name, chunk), piece, {"Nats-Msg-Id": f"raw:{raw_name}:{chunk}"})


async def fetch_raw(bus: Bus, raw_name: str, chunks: int) -> bytes:
    """The bytes of a message that lies in RAW; Unavailable when a piece is gone or the bus is away."""
    parts = []
    try:
        for chunk in range(chunks):
            message = await bus.js.get_last_msg(RAW, jobs.raw_subject(raw_name, chunk), direct=True)
            parts.append(message.data or b"")
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
        raise Unavailable(f"bus: message bytes: {error}", code="BusUnavailable") from error
    return b"".join(parts)


async def drop_raw(bus: Bus, raw_name: str) -> None:
    """Forget the bytes of a message; Unavailable when the bus is away."""
    try:
        await bus.js.purge_stream(RAW, subject=jobs.raw_subject(raw_name, "*"))
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
        raise Unavailable(f"bus: {error}", code="BusUnavailable") from error


def chunk_count(size: int) -> int:
    """How many pieces in RAW a message of this size makes; 0 where it rides in its job."""
    return 0 if size <= jobs.MAX_INLINE_BYTES else -(-size // jobs.RAW_CHUNK_BYTES)
