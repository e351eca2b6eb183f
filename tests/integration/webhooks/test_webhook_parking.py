"""A lane whose receiver fails is parked: one small record, nothing lost, order kept, given up after its time."""

import asyncio
import contextlib
import json
from datetime import timedelta

import pytest
from nats.js.errors import KeyNotFoundError, NotFoundError

from postbus.common import ids
from postbus.common.bus.streams import DLQ, EVENTS, LANES
from postbus.common.events import AccountDeleted, AccountInfo, seal_event
from postbus.webhooks import records
from postbus.webhooks.retries import RetrySchedule
from tests.integration.webhooks.conftest import NEVER, SOON, Bench, repeats, uids
from tests.servers import Answer

pytestmark = pytest.mark.anyio

BRIEF = RetrySchedule(timedelta(milliseconds=50), timedelta(milliseconds=100), window=timedelta(milliseconds=600))


async def test_a_parked_lane_survives_a_restart_and_catches_up_in_order(bench: Bench) -> None:
    await bench.account("a")
    await bench.account("b")
    await bench.sink.stop()
    service = bench.start()
    await bench.publish("a", *range(1, 101))
    await bench.publish("b", 1)
    await bench.wait_parked(2)
    await bench.stop(service)
    await bench.publish("a", *range(101, 201))
    bench.start()
    await bench.publish("a", *range(201, 231))
    await bench.sink.start()
    requests = await bench.received(231)
    assert uids(requests, "a") == list(range(1, 231))
    assert uids(requests, "b") == [1]
    assert repeats(requests) == 0
    assert next(r for r in requests if r.json["account"] == "a").headers["x-ee-wh-attempts-made"] != "0"
    await bench.wait_parked(0)
    await bench.publish("a", 231)
    await bench.received(232)


async def test_the_record_of_a_parked_lane_says_where_it_stands(bench: Bench) -> None:
    await bench.account("a")
    await bench.settings(webhooks=bench.sink.url.replace("://", "://user:hush@"))
    bench.sink.default = Answer(500, body="broken")
    bench.start(schedule=NEVER)
    await bench.publish("a", 1, 2, 3)
    await bench.wait_parked(1)
    bucket = await bench.parts.bus.js.key_value(LANES)
    entry = await bucket.get(records.lane_key(ids.shard_of("a"), "a"))
    record = records.unpack_lane(entry.value or b"")
    first = await bench.parts.bus.js.get_msg(EVENTS, subject="ee.events.a.messageDeleted.*", seq=1, next=True)
    assert (record.position, record.attempt, record.failures, record.reason) == (first.seq, 1, 1, "HTTP 500")
    assert 2800 < record.next_try - record.first_failure <= 3600
    assert b"hush" not in (entry.value or b"")


async def test_an_event_that_nobody_takes_in_time_becomes_a_dead_letter_and_the_lane_goes_on(bench: Bench) -> None:
    await bench.account("a")
    bench.sink.script = lambda request: Answer(410) if request.json["data"]["uid"] == 1 else None
    bench.start(schedule=BRIEF)
    await bench.publish("a", 1, 2, 3)
    requests = await bench.sink.wait(lambda found: 3 in uids(found), 15)
    delivered = uids(requests)
    assert delivered[-2:] == [2, 3]
    assert delivered.count(1) >= 3
    letter = await bench.parts.bus.js.get_last_msg(DLQ, f"ee.dlq.webhook.{bench.event('a', 1).event_id}")
    told = json.loads(letter.data or b"")
    assert told["lastError"] == "HTTP 410"
    assert told["attempts"] == delivered.count(1)
    assert told["body"]["data"]["uid"] == 1
    with pytest.raises(NotFoundError):
        await bench.parts.bus.js.get_last_msg(DLQ, f"ee.dlq.webhook.{bench.event('a', 2).event_id}")


async def test_events_that_waited_all_their_time_behind_another_are_tried_once_before_they_are_given_up(
    bench: Bench,
) -> None:
    await bench.account("a")
    bench.sink.default = Answer(500)
    bench.start(schedule=BRIEF)
    await bench.publish("a", *range(1, 51))
    async with asyncio.timeout(15):
        while (await bench.parts.bus.js.stream_info(DLQ)).state.messages < 50:
            await asyncio.sleep(0.05)
    tried = uids(bench.sink.requests)
    assert tried.count(1) >= 3
    assert [uid for uid in tried if uid != 1] == list(range(2, 51))
    bench.sink.default = Answer()
    await bench.publish("a", 51)
    await bench.sink.wait(lambda found: 51 in uids(found), 15)


async def test_a_lane_whose_position_the_log_has_discarded_goes_on_with_the_first_kept_event(bench: Bench) -> None:
    await bench.account("a")
    await bench.sink.stop()
    service = bench.start(schedule=NEVER)
    await bench.publish("a", 1, 2, 3, 4)
    await bench.wait_parked(1)
    await bench.stop(service)
    last = (await bench.parts.bus.js.stream_info(EVENTS)).state.last_seq
    await bench.parts.bus.js.purge_stream(EVENTS, seq=last - 1)
    await bench.sink.start()
    bench.start()
    while not bench.sink.requests:  # the hint is lost on a worker that has not taken over yet
        await bench.change("a", email="a@example.test")
        await asyncio.sleep(0.05)
    assert uids(await bench.received(2)) == [3, 4]


async def test_a_new_target_is_used_for_what_is_not_sent_yet(bench: Bench) -> None:
    await bench.account("a")
    await bench.settings(webhooks="http://127.0.0.1:9/")
    bench.start(schedule=NEVER)
    await bench.publish("a", 1, 2)
    await bench.wait_parked(1)
    await bench.settings(webhooks=bench.sink.url)
    assert uids(await bench.received(2)) == [1, 2]


async def test_an_accounts_own_target_replaces_the_global_one_from_the_next_event_on(bench: Bench) -> None:
    await bench.account("a")
    bench.start()
    await bench.publish("a", 1)
    await bench.received(1)
    await bench.change("a", webhooks=bench.sink.url.replace("/hook", "/own"))
    await bench.publish("a", 2)
    requests = await bench.received(2)
    assert [request.path for request in requests] == ["/hook", "/own"]


async def test_what_the_filter_or_the_master_switch_leaves_out_is_dropped(bench: Bench) -> None:
    await bench.account("a")
    await bench.settings(webhookEvents=["messageNew"])
    bench.start()
    await bench.publish("a", 1)
    await bench.settings(webhooksEnabled=False, webhookEvents=["*"])
    await bench.publish("a", 2)
    await _settled(bench, "a")
    await bench.settings(webhooksEnabled=None)
    await bench.publish("a", 3)
    assert uids(await bench.received(1)) == [3]


async def test_events_of_a_deleted_account_are_dropped_but_not_the_one_that_says_so(bench: Bench) -> None:
    account = await bench.account("a")
    deleted = seal_event(AccountDeleted(account="a", data=AccountInfo(account="a")), account.generation)
    await bench.parts.accounts.delete(account)
    await bench.publish_all([bench.event("a", 1), deleted])
    bench.start()
    [request] = await bench.received(1)
    assert request.json["event"] == "accountDeleted"


async def test_a_metadata_address_is_refused_whatever_it_is_called(bench: Bench) -> None:
    await bench.account("a", webhooks="http://169.254.169.254/latest")
    await bench.account("b", webhooks="http://[::ffff:169.254.169.254]/latest")
    bench.start(schedule=NEVER)
    await bench.publish("a", 1)
    await bench.publish("b", 1)
    await bench.wait_parked(2)
    bucket = await bench.parts.bus.js.key_value(LANES)
    for name in ("a", "b"):
        entry = await bucket.get(records.lane_key(ids.shard_of(name), name))
        assert "refused" in records.unpack_lane(entry.value or b"").reason


async def test_an_endless_answer_is_cut_off_and_a_success_all_the_same(bench: Bench) -> None:
    await bench.account("a")
    bench.sink.default = Answer(body="x" * 5_000_000)
    bench.start(schedule=SOON)
    await bench.publish("a", 1, 2)
    assert uids(await bench.received(2)) == [1, 2]


async def _settled(bench: Bench, token: str) -> None:
    """Wait until the checkpoint of the account's shard has passed all events that are in the log."""
    bucket = await bench.parts.bus.js.key_value(LANES)
    shard = ids.shard_of(token)
    last = (await bench.parts.bus.js.get_last_msg(EVENTS, f"ee.events.{token}.*.{shard}")).seq or 0
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(KeyNotFoundError):
                entry = await bucket.get(records.position_key(shard))
                if records.unpack_checkpoint(entry.value or b"").floor >= last:
                    return
            await asyncio.sleep(0.02)
