"""Submissions in JetStream: inline or in pieces, due now or at their time, once."""

from datetime import timedelta

import pytest
from nats.aio.msg import Msg

from postbus.common.bus.connection import Bus
from postbus.common.bus.queue import chunk_count, drop_raw, fetch_raw, put_filing, put_submission, schedule_submission
from postbus.common.bus.room import QueueRoom
from postbus.common.bus.streams import FILE_CONSUMER, JOBS, RAW, SEND_CONSUMER
from postbus.common.errors import TooLarge, Unavailable
from postbus.common.ids import new_queue_id
from postbus.common.jobs import MAX_INLINE_BYTES, Envelope, Filing, Submission, unpack_filing, unpack_submission
from postbus.common.times import now

pytestmark = pytest.mark.anyio


def submission(size: int, **changes: object) -> Submission:
    base = Submission(
        queue_id=new_queue_id(),
        account="ü@example.com",
        message_id="<1@example.com>",
        envelope=Envelope(sender="a@example.com", recipients=("b@example.com",)),
        created=now(),
        send_at=now(),
        deadline=now() + timedelta(days=3),
        size=size,
        raw_chunks=chunk_count(size),
    )
    return base.model_copy(update=changes)


async def take(bus: Bus, consumer: str = SEND_CONSUMER, wait_s: float = 5.0) -> Msg:
    subscription = await bus.js.pull_subscribe_bind(consumer=consumer, stream=JOBS)
    (message,) = await subscription.fetch(1, timeout=wait_s)
    await message.ack_sync()
    return message


async def jobs_left(bus: Bus) -> int:
    return int((await bus.js.stream_info(JOBS)).state.messages)


async def test_a_small_message_rides_in_its_job(bus: Bus) -> None:
    put = submission(5)
    await put_submission(bus, put, b"small")
    assert unpack_submission((await take(bus)).data) == (put, b"small")
    assert (await bus.js.stream_info(RAW)).state.messages == 0


async def test_a_large_message_lies_in_pieces_until_it_is_dropped(bus: Bus) -> None:
    raw = bytes(range(256)) * 8000
    put, other = submission(len(raw)), submission(MAX_INLINE_BYTES + 1)
    await put_submission(bus, put, raw)
    await put_submission(bus, other, b"x" * (MAX_INLINE_BYTES + 1))
    found, inline = unpack_submission((await take(bus)).data)
    assert (found, inline) == (put, b"")
    assert await fetch_raw(bus, found.queue_id, found.raw_chunks) == raw
    await drop_raw(bus, found.queue_id)
    with pytest.raises(Unavailable):
        await fetch_raw(bus, found.queue_id, found.raw_chunks)
    assert await fetch_raw(bus, other.queue_id, other.raw_chunks) == b"x" * (MAX_INLINE_BYTES + 1)


async def test_a_submission_put_twice_is_there_once_and_each_attempt_is_its_own(bus: Bus) -> None:
    put = submission(1)
    await put_submission(bus, put, b"x")
    await put_submission(bus, put, b"x")
    assert await jobs_left(bus) == 1
    await take(bus)
    await schedule_submission(bus, put.model_copy(update={"attempt": 2}), b"x")
    assert unpack_submission((await take(bus)).data)[0].attempt == 2


async def test_a_submission_for_later_is_due_at_its_time(bus: Bus) -> None:
    due = now() + timedelta(seconds=1.2)
    put = submission(5, send_at=due)
    await put_submission(bus, put, b"later")
    subscription = await bus.js.pull_subscribe_bind(consumer=SEND_CONSUMER, stream=JOBS)
    with pytest.raises(TimeoutError):
        await subscription.fetch(1, timeout=0.5)
    message = await take(bus)
    assert now() >= due
    assert unpack_submission(message.data) == (put, b"later")
    assert await jobs_left(bus) == 0


async def test_a_time_that_is_just_passing_is_no_obstacle(bus: Bus) -> None:
    for milliseconds in (1, 2, 5):
        await put_submission(bus, submission(1, send_at=now() + timedelta(milliseconds=milliseconds)), b"x")
        await take(bus)


async def test_a_filing_is_there_once(bus: Bus) -> None:
    filing = Filing(queue_id=new_queue_id(), account="a", message_id="<1@e>", created=now(), size=3, bcc="x@e")
    await put_filing(bus, filing, b"raw")
    await put_filing(bus, filing, b"raw")
    assert unpack_filing((await take(bus, FILE_CONSUMER)).data) == (filing, b"raw")
    assert await jobs_left(bus) == 0


async def test_a_full_queue_takes_no_submission_but_all_that_follows_from_an_accepted_one(bus: Bus) -> None:
    accepted = submission(1)
    await put_submission(bus, accepted, b"x")
    bus.jobs_room = QueueRoom(JOBS, limit=1)
    with pytest.raises(Unavailable) as refused:
        await put_submission(bus, submission(MAX_INLINE_BYTES + 1), b"x" * (MAX_INLINE_BYTES + 1))
    assert refused.value.code == "QueueFull"
    assert (await bus.js.stream_info(RAW)).state.messages == 0
    await schedule_submission(bus, accepted.model_copy(update={"attempt": 2}), b"x")
    assert await jobs_left(bus) == 2


async def test_the_size_of_the_queue_is_not_asked_for_each_submission(bus: Bus) -> None:
    asked: list[Msg] = []

    async def count(message: Msg) -> None:
        asked.append(message)

    await bus.nc.subscribe(f"$JS.API.STREAM.INFO.{JOBS}", cb=count)
    for _ in range(10):
        await put_submission(bus, submission(1), b"x")
    assert len(asked) == 1


async def test_nothing_is_ever_discarded_from_the_queue_to_make_room(bus: Bus) -> None:
    config = (await bus.js.stream_info(JOBS)).config
    limits = (config.max_bytes, config.max_msgs, config.max_msgs_per_subject, config.max_age)
    assert all(limit in (None, 0, -1) for limit in limits)


async def test_a_job_the_bus_can_not_carry_is_too_large_and_leaves_nothing(bus: Bus) -> None:
    recipients = tuple(f"{number:07d}@{'x' * 40}.example.com" for number in range(bus.nc.max_payload // 60))
    crowd = submission(MAX_INLINE_BYTES + 1, envelope=Envelope(sender="", recipients=recipients))
    with pytest.raises(TooLarge):
        await put_submission(bus, crowd, b"x" * (MAX_INLINE_BYTES + 1))
    assert (await bus.js.stream_info(RAW)).state.messages == 0
