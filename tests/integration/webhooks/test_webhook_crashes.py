"""Nothing is lost when a worker, or the bus, dies between any two steps; what is posted again carries the same id."""

import asyncio
import dataclasses

import pytest
from nats.js.errors import NoKeysError
from nats.js.kv import KeyValue

from postbus.common import ids
from postbus.common.bus.streams import LANES
from postbus.webhooks import records
from tests.integration.webhooks.conftest import Bench, WebhooksProcess, repeats, uids
from tests.servers import Answer, NatsServer

pytestmark = pytest.mark.anyio

ACCOUNTS = [f"account{number}" for number in range(12)]


async def test_kills_in_mid_flight_lose_nothing_and_repeat_only_what_was_in_flight(
    bench: Bench, webhooks_processes: list[WebhooksProcess]
) -> None:
    for name in ACCOUNTS:
        await bench.account(name)
    bench.sink.default = Answer(delay_s=0.005)
    bench.sink.script = lambda request: Answer(500) if len(bench.sink.requests) % 40 == 0 else None
    process = webhooks_processes[0]
    process.start()
    await bench.publish_all([bench.event(name, uid) for uid in range(1, 61) for name in ACCOUNTS])
    for reached in (150, 400):
        await bench.received(reached)
        process.kill()
        process.start()
    await _all_delivered(bench, 60)
    failed = sum(int(r.headers["x-ee-wh-attempts-made"] != "0") for r in bench.sink.requests)
    assert repeats(bench.sink.requests) - failed <= 2 * 4 * len(ACCOUNTS)


async def test_when_one_of_two_workers_dies_the_other_takes_its_shards(
    bench: Bench, webhooks_processes: list[WebhooksProcess]
) -> None:
    for name in ACCOUNTS:
        await bench.account(name)
    for process in webhooks_processes:
        process.start()
    await _owners(bench, 2)
    await bench.publish_all([bench.event(name, uid) for uid in range(1, 21) for name in ACCOUNTS])
    await bench.received(60)
    webhooks_processes[0].kill()
    await bench.publish_all([bench.event(name, uid) for uid in range(21, 41) for name in ACCOUNTS])
    await _all_delivered(bench, 40)


async def test_a_worker_that_joins_gets_its_share_without_loss_or_repeat(bench: Bench) -> None:
    for name in ACCOUNTS:
        await bench.account(name)
    bench.sink.default = Answer(delay_s=0.003)
    bench.start()
    publishing = asyncio.create_task(_publish_slowly(bench, 40))
    await bench.received(60)
    bench.start(dataclasses.replace(bench.parts, worker="second"))
    await publishing
    await _all_delivered(bench, 40)
    assert repeats(bench.sink.requests) == 0
    assert len(await _owners(bench, 2)) == 2


async def test_a_kill_of_the_bus_loses_nothing(bench: Bench, fresh_nats: NatsServer) -> None:
    for name in ACCOUNTS:
        await bench.account(name)
    bench.sink.default = Answer(delay_s=0.005)
    bench.start()
    await bench.publish_all([bench.event(name, uid) for uid in range(1, 41) for name in ACCOUNTS])
    await bench.received(100)
    fresh_nats.kill()
    fresh_nats.start()
    await _all_delivered(bench, 40)
    await bench.publish(ACCOUNTS[0], 41)
    await bench.sink.wait(lambda found: 41 in uids(found), 15)


async def _publish_slowly(bench: Bench, until: int) -> None:
    for uid in range(1, until + 1):
        await bench.publish_all([bench.event(name, uid) for name in ACCOUNTS])
        await asyncio.sleep(0.02)


async def _all_delivered(bench: Bench, count: int) -> None:
    """Wait until every event has arrived; then check the order of first arrivals."""
    wanted = {(name, uid) for name in ACCOUNTS for uid in range(1, count + 1)}
    taken: set[tuple[str, int]] = set()
    async with asyncio.timeout(25):
        while not wanted <= taken:
            await asyncio.sleep(0.05)
            taken = {(r.json["account"], r.json["data"]["uid"]) for r in bench.sink.requests}
    for name in ACCOUNTS:
        assert list(dict.fromkeys(uids(bench.sink.requests, name)))[:count] == list(range(1, count + 1))


async def _owners(bench: Bench, count: int) -> set[str]:
    bucket = await bench.parts.bus.js.key_value(LANES)
    async with asyncio.timeout(15):
        while True:
            keys = [key for key in await _keys(bucket) if key.endswith(".position")]
            entries = [await bucket.get(key) for key in keys]
            owners = {records.unpack_checkpoint(entry.value or b"").owner.split("|")[0] for entry in entries}
            if len(keys) == ids.SHARDS and len(owners) == count:
                return owners
            await asyncio.sleep(0.1)


async def _keys(bucket: KeyValue) -> list[str]:
    try:
        return await bucket.keys()
    except NoKeysError:
        return []
