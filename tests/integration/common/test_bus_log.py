"""Streams and the event log on a real server: what is acknowledged is kept, and kept once."""

import asyncio
import time
from uuid import UUID

import pytest

from postbus.common.bus.batch import publish_events
from postbus.common.bus.connection import Bus, BusAddress, connect_bus
from postbus.common.bus.streams import EVENTS, JOBS, RAW, migrate_streams
from postbus.common.errors import Unavailable
from postbus.common.events import AccountAdded, AccountInfo, Envelope, seal_event
from tests.servers import NatsServer, free_port

pytestmark = pytest.mark.anyio


def events(count: int, account: str = "a", first: int = 0) -> list[Envelope]:
    event = AccountAdded(account=account, data=AccountInfo(account=account))
    return [seal_event(event, UUID(int=1), number) for number in range(first, first + count)]


async def kept(bus: Bus) -> int:
    return int((await bus.js.stream_info(EVENTS)).state.messages)


async def read_ids(bus: Bus, count: int) -> list[str]:
    """Event ids in the log, in order."""
    found = []
    for sequence in range(1, count + 1):
        message = await bus.js.get_msg(EVENTS, seq=sequence, direct=True)
        found.append((message.headers or {})["Ee-Event-Id"])
    return found


async def test_migration_can_run_any_number_of_times_and_keeps_what_is_there(bus: Bus) -> None:
    await publish_events(bus, events(3))
    await migrate_streams(bus)
    await migrate_streams(bus)
    assert await kept(bus) == 3
    names = {info.config.name for info in await bus.js.streams_info()}
    assert {EVENTS, JOBS, RAW, "DLQ", "KV_LANES"} <= names
    assert {info.name for info in await bus.js.consumers_info(JOBS)} == {"sender-send", "sender-file"}


async def test_an_older_configuration_is_brought_up_to_date(bus: Bus) -> None:
    config = (await bus.js.stream_info(EVENTS)).config
    await bus.js.update_stream(config.evolve(max_bytes=1024 * 1024, description="old"))
    await migrate_streams(bus)
    assert (await bus.js.stream_info(EVENTS)).config.description == config.description


async def test_an_event_published_twice_is_stored_once(bus: Bus) -> None:
    (event,) = events(1)
    first, second = await bus.publish_event(event), await bus.publish_event(event)
    assert (first.duplicate, second.duplicate) == (None, True)
    assert await kept(bus) == 1


async def test_events_of_a_batch_are_kept_in_order_with_their_headers(bus: Bus) -> None:
    batch = events(250, account="ü@example.com")
    await publish_events(bus, batch, {"traceparent": "00-1-2-3"})
    assert await read_ids(bus, 250) == [str(event.event_id) for event in batch]
    message = await bus.js.get_msg(EVENTS, seq=1, direct=True)
    assert message.subject == batch[0].subject
    assert message.data == batch[0].body
    assert (message.headers or {})["Ee-Account"] == batch[0].token
    assert (message.headers or {})["traceparent"] == "00-1-2-3"


async def test_a_batch_with_an_event_that_is_known_adds_only_the_others(bus: Bus) -> None:
    await publish_events(bus, events(1, first=3))
    await publish_events(bus, events(6))
    assert await kept(bus) == 6
    await publish_events(bus, events(6))
    assert await kept(bus) == 6


async def test_a_few_events_are_kept_in_order_and_those_known_once(bus: Bus) -> None:
    few = events(4)
    await publish_events(bus, few[:2], {"traceparent": "00-1-2-3"})
    await publish_events(bus, few)
    assert await read_ids(bus, 4) == [str(event.event_id) for event in few]
    assert await kept(bus) == 4
    message = await bus.js.get_msg(EVENTS, seq=2, direct=True)
    assert (message.headers or {})["traceparent"] == "00-1-2-3"


async def test_a_single_event_and_none_at_all(bus: Bus) -> None:
    await publish_events(bus, [])
    await publish_events(bus, events(1))
    assert await kept(bus) == 1


async def test_a_full_stream_and_an_unknown_subject_are_unavailable(bus: Bus) -> None:
    config = (await bus.js.stream_info(RAW)).config
    await bus.js.update_stream(config.evolve(max_bytes=2000))
    with pytest.raises(Unavailable):
        await bus.publish("ee.raw.x.0", b"x" * 3000)
    with pytest.raises(Unavailable):
        await bus.publish("ee.nobody.listens", b"x")


async def test_without_a_server_connecting_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await connect_bus(BusAddress(f"nats://127.0.0.1:{free_port()}"), service="test")


async def test_the_bus_comes_back_by_itself_with_everything_in_it(
    bus: Bus, fresh_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postbus.common.bus.batch.PUBLISH_TIMEOUT_S", 0.5)
    await publish_events(bus, events(5))
    fresh_nats.kill()
    with pytest.raises(Unavailable):
        await publish_events(bus, events(5, first=5))
    fresh_nats.start()
    async with asyncio.timeout(10):
        while not await published(bus, events(5, first=5)):
            pass
    assert sorted(await read_ids(bus, 10)) == sorted(str(event.event_id) for event in events(10))
    assert await kept(bus) == 10


async def test_closing_does_not_wait_for_a_subscription_nobody_reads(nats_url: str) -> None:
    bus = await connect_bus(BusAddress(nats_url), service="test")
    await bus.nc.subscribe("forgotten")
    await bus.say("forgotten", b"x")
    await bus.nc.flush()
    started = time.monotonic()
    await bus.close()
    assert time.monotonic() - started < 5


async def published(bus: Bus, some: list[Envelope]) -> bool:
    try:
        await publish_events(bus, some)
    except Unavailable:
        return False
    return True


async def test_saying_something_never_fails(bus: Bus, fresh_nats: NatsServer) -> None:
    await bus.say("ee.ctl.accounts", b"a")
    await bus.nc.close()
    await bus.say("ee.ctl.accounts", b"a")


async def test_each_service_has_inboxes_of_its_own(bus: Bus) -> None:
    assert bus.nc.new_inbox().startswith("_INBOX.test.")
