"""What a sender must never do, whatever dies when: send twice what may have arrived, lose a message, hold up others."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from postbus.common import ids, jobs
from postbus.common.bus.streams import DLQ, RAW
from postbus.common.errors import AccountNotUsable, CommandRefused
from postbus.common.jobs import pack_job
from postbus.common.store import keys
from postbus.common.times import now
from postbus.sender.lanes import LaneLimits
from postbus.sender.outcome import Accepted, Outcome
from postbus.sender.phases import Found, LostSubmission, Phases
from postbus.sender.session import Timeouts
from tests.integration.sender.conftest import KEY_RING, Bench, message, until, until_async

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    """A port that accepts connections and never says a word."""
    gone = asyncio.Event()

    async def swallow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        gone.set()
        server.close()


async def test_a_connection_cut_after_the_end_of_the_message_is_uncertain_and_never_sent_again(bench: Bench) -> None:
    anna = await bench.account("anna-cut", port=bench.mail.info["proxy"]["submission"])
    await bench.start()
    sent = await bench.submit(anna, "slowdata-5@example.test")
    await bench.in_phase(sent, "data")
    await asyncio.sleep(0.1)  # the end of the message is on its way: there is nothing to wait for
    await asyncio.to_thread(bench.mail.proxy_drop, "submission")
    failed = await bench.event(sent, "messageFailed")
    assert failed.data.outcome == "uncertain"
    error = await bench.event(sent, "messageDeliveryError")
    assert error.data.job.next_attempt is False
    await bench.idle()
    letter = await bench.parts.bus.js.get_last_msg(DLQ, f"ee.dlq.send.{sent.queue_id}")
    assert (letter.headers or {})["Ee-Outcome"] == "uncertain"
    assert jobs.unpack_submission(letter.data or b"")[1] == message(sent.message_id)


async def test_a_connection_cut_in_the_middle_of_the_message_is_tried_again(bench: Bench) -> None:
    anna = await bench.account("anna-middle", port=bench.mail.info["proxy"]["submission"])
    await asyncio.to_thread(bench.mail.proxy_set, "submission", cut_after=300)
    await bench.start()
    sent = await bench.submit(anna, "bob-middle@example.test")
    error = await bench.event(sent, "messageDeliveryError")
    assert (error.data.error_code, bool(error.data.job.next_attempt)) == ("ECONNECTION", True)
    await asyncio.to_thread(bench.mail.proxy_clear, "submission")
    await bench.event(sent, "messageSent")
    assert len(await bench.received("bob-middle@example.test", sent)) == 1


async def test_a_sender_killed_after_the_end_of_the_message_leaves_it_uncertain(bench: Bench) -> None:
    await bench.hand_over_after(1.0)
    anna = await bench.account("anna-killed")
    environment = {**os.environ, "EENGINE_NATS": bench.config.nats or "", "EENGINE_REDIS": bench.config.redis or ""}
    sender = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "postbus.sender", env={**environment, "EENGINE_SECRET": KEY_RING}
    )
    sent = await bench.submit(anna, "slowdata-10@example.test")
    await bench.in_phase(sent, "data")
    os.kill(sender.pid, signal.SIGKILL)
    await sender.wait()
    await bench.start(gone_after_s=0.5)
    assert (await bench.event(sent, "messageFailed")).data.outcome == "uncertain"
    await bench.idle()
    assert len(bench.events_of(sent)) == 2


async def test_a_sender_killed_before_the_end_of_the_message_costs_nothing(bench: Bench) -> None:
    anna = await bench.account("anna-early")
    sent = await bench.submit(anna, "bob-early@example.test")
    dead = Phases(bench.parts.redis, anna.token, sent.queue_id, 1, "dead")
    assert (await dead.begin()).found is Found.SENDING
    await dead.release()
    await bench.start()
    await bench.event(sent, "messageSent")
    with pytest.raises(LostSubmission):
        await dead.enter_data()  # it is not dead after all, but can't send any more


async def test_an_outcome_that_was_kept_is_told_without_sending(bench: Bench) -> None:
    anna = await bench.account("anna-kept")
    sent = await bench.submit(anna, "bob-kept@example.test")
    crashed = Phases(bench.parts.redis, anna.token, sent.queue_id, 1, "crashed")
    await crashed.begin()
    await crashed.enter_data()
    accepted = Accepted(reply="250 kept", recipients=("bob-kept@example.test",))
    await crashed.end(Outcome(at=now(), accepted=accepted))
    await bench.start()
    assert (await bench.event(sent, "messageSent")).data.response == "250 kept"
    await until(lambda: bool(bench.filings), "the filing")
    await bench.idle()
    assert await asyncio.to_thread(bench.mail.messages, "bob-kept@example.test") == []


async def test_a_store_that_refuses_to_write_meanwhile_does_not_make_a_delivered_message_uncertain(
    bench: Bench,
) -> None:
    anna = await bench.account("anna-store")
    await bench.start(again_s=0.2)
    sent = await bench.submit(anna, "slowdata-1@example.test")
    await bench.in_phase(sent, "data")
    await bench.parts.redis.config_set("min-replicas-to-write", 1)
    try:
        await bench.received("slowdata-1@example.test", sent)
        await asyncio.sleep(1.5)  # the answer comes meanwhile, and can't be kept: there is nothing to wait for
        assert await bench.phase(sent) == "data"
    finally:
        await bench.parts.redis.config_set("min-replicas-to-write", 0)
    await bench.event(sent, "messageSent")
    await bench.idle()
    assert [event.event for event in bench.events_of(sent)] == ["messageSent"]
    assert await bench.phase(sent) == "ended" and len(bench.filings) == 1


async def test_a_job_somebody_else_works_on_is_left_alone(bench: Bench) -> None:
    anna = await bench.account("anna-busy")
    sent = await bench.submit(anna, "bob-busy@example.test")
    other = Phases(bench.parts.redis, anna.token, sent.queue_id, 1, "other")
    await other.begin()
    await other.enter_data()
    await bench.start()

    async def handed_back() -> bool:
        info = await bench.parts.bus.js.consumer_info("JOBS", "sender-send")
        return (info.num_ack_pending, info.num_pending) == (1, 0)

    await until_async(handed_back, "the job under way")
    assert bench.events_of(sent) == []
    assert await bench.phase(sent) == "data"


async def test_an_earlier_attempt_that_comes_again_is_ignored(bench: Bench) -> None:
    anna = await bench.account("anna-stale")
    later = Phases(bench.parts.redis, anna.token, "q1", 2, "x")
    await later.begin()
    await bench.start()
    await bench.submit(anna, "bob-stale@example.test", queue_id="q1")
    await bench.idle()
    assert await asyncio.to_thread(bench.mail.messages, "bob-stale@example.test") == []


async def test_one_account_in_trouble_never_delays_another(bench: Bench) -> None:
    async with black_hole() as port:
        stuck = await bench.account("stuck", port=port)
        anna = await bench.account("anna-free")
        await bench.start(timeouts=Timeouts(connect_s=4), lanes=LaneLimits(parallel=2, waiting=4, total=16))
        for _ in range(30):
            await bench.submit(stuck, "nobody@example.test")
        started = time.monotonic()
        sent = [await bench.submit(anna, "bob-free@example.test") for _ in range(10)]
        await asyncio.gather(*(bench.event(one, "messageSent") for one in sent))
        assert time.monotonic() - started < 3
        error = [event for event in bench.events if event.event == "messageDeliveryError"]
        assert error == []


async def test_jobs_beyond_a_lanes_room_come_back_by_themselves(bench: Bench) -> None:
    anna = await bench.account("anna-crowd")
    sent = [await bench.submit(anna, "bob-crowd@example.test") for _ in range(12)]
    await bench.start(lanes=LaneLimits(parallel=1, waiting=2, total=16))
    await asyncio.gather(*(bench.event(one, "messageSent") for one in sent))
    await bench.idle()
    assert sorted(f.filing.queue_id for f in bench.filings) == sorted(one.queue_id for one in sent)


async def test_a_stop_lets_a_delivery_end(bench: Bench) -> None:
    anna = await bench.account("anna-stop")
    service = await bench.start()
    sent = await bench.submit(anna, "slowdata-1@example.test")
    await bench.in_phase(sent, "data")
    service.cancel()
    await asyncio.gather(service, return_exceptions=True)
    assert [event.event for event in bench.events_of(sent)] == ["messageSent"]
    assert await bench.phase(sent) == "ended"


async def test_a_submission_taken_over_by_another_sender_is_not_ended_by_the_first(bench: Bench) -> None:
    anna = await bench.account("anna-taken")
    await bench.start(again_s=0.5)
    sent = await bench.submit(anna, "slow-1@example.test")
    await bench.in_phase(sent, "sending")
    key = keys.submission(anna.token, sent.queue_id)
    await bench.parts.redis.hset(key, mapping={"owner": "another", "seen": "0"})
    await bench.event(sent, "messageSent")
    assert len(await bench.received("slow-1@example.test", sent)) == 1
    assert [event.event for event in bench.events_of(sent)] == ["messageSent"]


async def test_a_kept_connection_that_the_server_closed_costs_no_attempt(bench: Bench) -> None:
    anna = await bench.account("anna-kept-open", port=bench.mail.info["proxy"]["submission"])
    await bench.start()
    before = bench.mail.proxy_info()["submission"]["total"]
    for _ in range(3):
        await bench.event(await bench.submit(anna, "bob-kept-open@example.test"), "messageSent")
    assert bench.mail.proxy_info()["submission"]["total"] == before + 1
    await asyncio.to_thread(bench.mail.proxy_drop, "submission")
    sent = await bench.submit(anna, "bob-kept-open@example.test")
    await bench.event(sent, "messageSent")
    assert [event.event for event in bench.events_of(sent)] == ["messageSent"]


@pytest.mark.parametrize("error", [AccountNotUsable("away"), CommandRefused("wait", server_code="UNAVAILABLE")])
async def test_a_filing_is_tried_again_while_the_account_can_not_work(bench: Bench, error: Exception) -> None:
    anna = await bench.account("anna-later")
    bench.file_error = error
    await bench.start()
    raw = message("<later@x>", b"x\r\n" * 50_000)
    sent = await bench.submit(anna, "bob-later@example.test", raw=raw)
    await bench.event(sent, "messageSent")

    async def waits() -> bool:
        return bool((await bench.parts.bus.js.stream_info("JOBS", subjects_filter="ee.sch.*")).state.subjects)

    await until_async(waits, "a filing that waits")
    bench.file_error = None
    await bench.idle()
    assert len(bench.filings) == 1
    assert (await bench.parts.bus.js.stream_info(RAW)).state.messages == 0


@pytest.mark.parametrize(
    ("error", "age_h"), [(CommandRefused("no", server_code="CANNOT"), 0), (AccountNotUsable("x"), 25)]
)
async def test_a_filing_that_is_refused_or_too_old_ends_quietly(bench: Bench, error: Exception, age_h: int) -> None:
    anna = await bench.account("anna-filed")
    bench.file_error = error
    filing: dict[str, Any] = {"queue_id": ids.new_queue_id(), "account": "anna-filed", "message_id": "<a@x>", "size": 1}
    old = jobs.Filing(**filing, created=now() - timedelta(hours=age_h))
    await bench.parts.bus.publish(jobs.file_subject(anna.token, old.queue_id), pack_job(old, b"x"))
    await bench.start()
    await bench.idle()
    assert bench.events == [] or all(event.event == "accountAdded" for event in bench.events)
