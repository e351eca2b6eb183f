"""The embedded bus: each service says and hears what it needs, and nothing else."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import nats
import nats.errors
import nats.js.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from postbus.cli.supervisor.bus_users import ADMIN, BusUser, compose_authorization, draw_users
from postbus.common.bus.connection import BusAddress, connect_bus
from postbus.common.bus.streams import EVENTS, JOBS, SEND_CONSUMER, migrate_streams
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio
QUIET_S = 0.2  # how long nothing has to happen before we believe that nothing will

USERS = draw_users()


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    """A server with the users of the product; a `_INBOX` of each belongs to it alone."""
    with NatsServer(compose_authorization(list(USERS.values()))) as running:
        yield running


@asynccontextmanager
async def connected(server: NatsServer, user: BusUser) -> AsyncIterator[tuple[Client, list[str]]]:
    """A connection as that user, and what the server complained about."""
    complaints: list[str] = []

    async def on_error(error: Exception) -> None:
        complaints.append(str(error))

    client = await nats.connect(
        server.url,
        user=user.name,
        password=user.password,
        inbox_prefix=f"_INBOX.{user.name}".encode(),
        error_cb=on_error,
        allow_reconnect=False,
    )
    try:
        yield client, complaints
    finally:
        await client.close()


async def no_violation(client: Client, complaints: list[str]) -> bool:
    """Whether the server took it. The first PING may overtake what was published before, the second does not."""
    await client.flush()
    await client.flush()
    return not any("permissions violation" in complaint.lower() for complaint in complaints)


async def may_say(server: NatsServer, user: str, subject: str) -> bool:
    async with connected(server, USERS[user]) as (client, complaints):
        await client.publish(subject, b"")
        return await no_violation(client, complaints)


async def may_hear(server: NatsServer, user: str, subject: str) -> bool:
    async with connected(server, USERS[user]) as (client, complaints):
        await client.subscribe(subject)
        return await no_violation(client, complaints)


@pytest.mark.parametrize("user", [name for name in USERS if name != ADMIN])
async def test_a_service_hears_its_own_inbox_and_nobody_elses(server: NatsServer, user: str) -> None:
    assert await may_hear(server, user, f"_INBOX.{user}.x.y")
    for other in USERS.keys() - {user}:
        assert not await may_hear(server, user, f"_INBOX.{other}.>"), other
    assert not await may_hear(server, user, ">")
    assert not await may_hear(server, user, "ee.events.>")


async def test_the_sender_may_ask_for_a_filing_and_for_credentials_and_for_nothing_else(server: NatsServer) -> None:
    assert await may_say(server, "sender", "ee.rpc.7.file")
    assert await may_say(server, "sender", "ee.rpc.auth.ensure")
    for operation in ("message", "source", "messages", "reconnect", "reference"):
        assert not await may_say(server, "sender", f"ee.rpc.7.{operation}"), operation


@pytest.mark.parametrize("user", ["webhooks", "auth"])
async def test_who_commands_nothing_can_send_no_command(server: NatsServer, user: str) -> None:
    assert not await may_say(server, user, "ee.rpc.7.file")
    assert not await may_say(server, user, "ee.rpc.auth.ensure")


@pytest.mark.parametrize("user", ["webhooks", "auth", "imap-sync"])
async def test_who_sends_no_mail_can_not_queue_any(server: NatsServer, user: str) -> None:
    assert not await may_say(server, user, "ee.job.send.a.q")
    assert not await may_say(server, user, "ee.sch.q")


@pytest.mark.parametrize("user", ["api", "sender", "webhooks", "auth"])
async def test_nobody_but_the_owner_of_accounts_says_that_mail_came(server: NatsServer, user: str) -> None:
    assert not await may_say(server, user, "ee.events.a.messageNew.1")
    assert await may_say(server, "imap-sync", "ee.events.a.messageNew.1")


@pytest.mark.parametrize("user", [name for name in USERS if name != ADMIN])
async def test_no_service_can_change_streams(server: NatsServer, user: str) -> None:
    for verb in ("CREATE", "UPDATE", "DELETE"):
        assert not await may_say(server, user, f"$JS.API.STREAM.{verb}.EVENTS")
    assert not await may_say(server, user, f"$JS.API.STREAM.PURGE.{EVENTS}")


async def test_credentials_are_asked_of_auth_which_no_worker_can_pretend_to_be(server: NatsServer) -> None:
    async with connected(server, USERS["imap-sync"]) as (worker, _), connected(server, USERS["sender"]) as (sender, _):
        heard = await worker.subscribe("ee.rpc.*.*")
        await worker.flush()
        await sender.publish("ee.rpc.auth.ensure", b"for auth")
        await sender.publish("ee.rpc.7.file", b"for the worker")
        message = await heard.next_msg(timeout=5)
        assert message.data == b"for the worker"
        with pytest.raises(nats.errors.TimeoutError):
            await heard.next_msg(timeout=QUIET_S)


async def test_a_reply_that_points_at_a_command_is_not_sent(server: NatsServer) -> None:
    """Webhooks can't command; nor can it have a worker do it by naming a command as its reply subject."""
    async with connected(server, USERS["imap-sync"]) as (worker, _), connected(server, USERS["webhooks"]) as (asker, _):
        orders = await worker.subscribe("ee.rpc.7.*")

        async def answer(message: Msg) -> None:
            await message.respond(b"metrics")

        await worker.subscribe("ee.ctl.metrics", cb=answer)
        await worker.flush()
        await asker.publish("ee.ctl.metrics", b"", reply="ee.rpc.7.reconnect")
        await asker.flush()
        with pytest.raises(nats.errors.TimeoutError):
            await orders.next_msg(timeout=QUIET_S)


@pytest.mark.parametrize(("user", "password"), [("nobody", "x"), ("api", "x"), ("", "")])
async def test_who_is_not_known_gets_in_nowhere(server: NatsServer, user: str, password: str) -> None:
    login = {"user": user, "password": password} if user else {}

    async def quiet(_: Exception) -> None:
        return

    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        await nats.connect(server.url, allow_reconnect=False, error_cb=quiet, **login)


async def test_each_service_can_do_its_work_with_the_streams(server: NatsServer) -> None:
    """Through `connect_bus`, as services do: migrate, submit, fetch, acknowledge, read the log, keep a lane."""

    def address(user: str) -> BusAddress:
        return BusAddress(server.url.replace("nats://", f"nats://{user}:{USERS[user].password}@"))

    buses = {user: await connect_bus(address(user), service=user) for user in USERS}
    try:
        await migrate_streams(buses[ADMIN])
        await migrate_streams(buses[ADMIN])
        await buses["api"].publish("ee.job.send.a.q1", b"job")
        await buses["api"].publish("ee.raw.q1.0", b"bytes")
        jobs = await buses["sender"].js.pull_subscribe_bind(SEND_CONSUMER, JOBS)
        (job,) = await jobs.fetch(1, timeout=5)
        await job.ack_sync()
        raw = await buses["sender"].js.get_last_msg("RAW", "ee.raw.q1.0", direct=True)
        assert raw.data == b"bytes"
        await buses["sender"].js.purge_stream("RAW", subject="ee.raw.q1.*")
        await buses["imap-sync"].publish("ee.events.a.messageNew.1", b"{}")
        log = await buses["webhooks"].js.pull_subscribe("ee.events.*.*.1", durable="webhooks-1", stream=EVENTS)
        (event,) = await log.fetch(1, timeout=5)
        await event.ack_sync()
        lanes = await buses["webhooks"].js.key_value("LANES")
        await lanes.put("1.route.a", b"parked")
        assert (await lanes.get("1.route.a")).value == b"parked"
        assert await lanes.keys() == ["1.route.a"]
        await lanes.purge("1.route.a")
    finally:
        for bus in buses.values():
            await bus.close()
