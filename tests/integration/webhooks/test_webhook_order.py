"""Every event reaches its receiver, in order per account, and nobody waits for somebody else."""

import asyncio

import pytest

from postbus.common import ids
from postbus.common.accounts import CustomHeader
from postbus.common.store import keys
from postbus.webhooks import targets
from tests.contract.deliveries import assert_deliveries_fit
from tests.integration.webhooks.conftest import NEVER, Bench, repeats, uids
from tests.servers import Answer, WebhookSink

pytestmark = pytest.mark.anyio


async def test_an_event_is_posted_as_the_contract_says(bench: Bench) -> None:
    await bench.account("a")
    await bench.settings(
        webhooks=bench.sink.url.replace("://", "://me:p%40ss@"),
        serviceUrl="https://mail.example.test",
        webhooksCustomHeaders=[{"key": "X-Site", "value": "global"}, {"key": "X-Other", "value": "1"}],
    )
    await bench.change("a", webhooks_custom_headers=(CustomHeader(key="x-site", value="account"),))
    bench.start()
    await bench.publish("a", 1)
    [request] = await bench.received(1)
    assert_deliveries_fit([request.delivery], bench.parts.settings.current.service_secret)
    assert request.headers["authorization"] == "Basic bWU6cEBzcw=="
    assert (request.headers["x-site"], request.headers["x-other"]) == ("account", "1")
    assert request.headers["x-ee-wh-event-id"] == str(bench.event("a", 1).event_id)
    assert next(iter(request.json)) == "serviceUrl"
    assert request.headers["webhook-id"] == request.headers["x-ee-wh-event-id"]
    assert request.headers["webhook-signature"].startswith("v1,")


async def test_events_of_an_account_keep_their_order_through_failures(bench: Bench) -> None:
    await bench.account("a")
    bench.sink.answer_next(Answer(), Answer(500), Answer(close=True), Answer(), Answer(302, headers={"Location": "/"}))
    bench.start()
    await bench.publish("a", *range(1, 21))
    requests = await bench.received(23)
    assert uids(requests) == [1, 2, 2, 2, 3, 3, *range(4, 21)]
    attempts = [request.headers["x-ee-wh-attempts-made"] for request in requests]
    assert attempts == ["0", "0", "1", "2", "0", "1", *["0"] * 17]
    assert_deliveries_fit([r.delivery for r in requests], bench.parts.settings.current.service_secret)
    await bench.wait_parked(0)


async def test_a_dead_target_of_one_account_delays_no_other(bench: Bench) -> None:
    async with WebhookSink(default=Answer(delay_s=2)) as stuck:
        await bench.account("stuck", webhooks=stuck.url)
        await bench.account("well")
        bench.start()
        await bench.publish("stuck", *range(1, 200))
        await bench.publish("well", *range(1, 101))
        assert uids(await bench.received(100)) == list(range(1, 101))
        assert uids(stuck.requests) == [1]


async def test_an_account_whose_record_can_not_be_read_delays_no_other_and_loses_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "UNREADABLE_RETRY_S", 0.05)
    await bench.account("broken")
    await bench.account("well")
    key = keys.account(ids.account_token("broken"))
    record = await bench.parts.redis.hget(key, "record")
    assert record is not None
    await bench.parts.redis.hset(key, "record", "{nonsense")
    bench.start()
    await bench.publish("broken", *range(1, 101))
    await bench.publish("well", *range(1, 101))
    assert uids(await bench.received(100), "well") == list(range(1, 101))
    await bench.parts.redis.hset(key, "record", record)
    assert uids(await bench.received(200), "broken") == list(range(1, 101))


async def test_a_burst_into_one_account_arrives_once_and_in_order(bench: Bench) -> None:
    await bench.account("a")
    bench.start()
    await bench.publish("a", *range(1, 601))
    assert uids(await bench.received(600)) == list(range(1, 601))
    await bench.publish("a", 601)
    assert uids(await bench.received(601))[-1] == 601
    await bench.wait_parked(0)


async def test_many_accounts_arrive_once_each_in_its_order(bench: Bench) -> None:
    names = [f"account {number}*" for number in range(20)]
    for name in names:
        await bench.account(name)
    bench.sink.script = lambda request: Answer(503) if hash(request.headers["x-ee-wh-event-id"]) % 7 == 0 and (
        request.headers["x-ee-wh-attempts-made"] == "0") else None  # fmt: skip
    bench.start()
    await bench.publish_all([bench.event(name, uid) for uid in range(1, 31) for name in names])
    async with asyncio.timeout(15):
        while len({r.headers["x-ee-wh-event-id"] for r in bench.sink.requests}) < 600:
            await asyncio.sleep(0.02)
    for name in names:
        assert sorted(set(uids(bench.sink.requests, name))) == list(range(1, 31))
        assert uids(bench.sink.requests, name) == sorted(uids(bench.sink.requests, name))
    failed = sum(r.headers["x-ee-wh-attempts-made"] != "0" for r in bench.sink.requests)
    assert repeats(bench.sink.requests) == failed


async def test_what_was_logged_before_the_service_started_is_posted_once(bench: Bench) -> None:
    await bench.account("a")
    await bench.publish("a", 1, 2)
    service = bench.start()
    await bench.received(2)
    await bench.stop(service)
    await bench.publish("a", 3)
    bench.start(schedule=NEVER)
    assert uids(await bench.received(3)) == [1, 2, 3]
