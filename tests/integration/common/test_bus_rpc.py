"""Commands by request and reply: answers, errors as they were raised, deadlines, and workers that come later."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest
from nats.aio.msg import Msg

from postbus.common import errors
from postbus.common.bus import rpc
from postbus.common.bus.connection import Bus
from postbus.common.commands import Command
from postbus.common.errors import DeadlineExceeded, PostbusError, Unavailable
from postbus.common.secrets import KeysUnavailable, SecretsState

pytestmark = pytest.mark.anyio

REQUEST = Command(account="ü")


@pytest.fixture
def bus(core_bus: Bus) -> Bus:
    return core_bus


async def answer_with(bus: Bus, action: Callable[[bytes], Awaitable[bytes]]) -> None:
    await rpc.serve(bus, "ee.rpc.1", {"op": action})


async def call(bus: Bus, deadline_s: float = 5.0, operation: str = "op") -> bytes:
    return await rpc.call(bus, f"ee.rpc.1.{operation}", REQUEST, deadline_s=deadline_s)


async def test_a_command_is_answered(bus: Bus) -> None:
    async def echo(payload: bytes) -> bytes:
        return payload

    await answer_with(bus, echo)
    assert json.loads(await call(bus)) == {"account": "ü"}


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFound("Message not found", code="MessageNotFound"),
        errors.AccountNotUsable("not now", state="connectError", nested={"a": [1]}),
        errors.TooLarge("over 5 MB"),
        errors.AuthenticationFailed("[AUTHENTICATIONFAILED] ü"),
        errors.ConnectFailed("refused", code="ECONNREFUSED"),
        errors.DeadlineExceeded("IMAP took too long"),
        errors.CommandRefused("no", status="BAD", server_code="OVERQUOTA"),
        errors.BadInput(fields=[{"key": "to.0.address", "message": "is no address"}]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_errors_arrive_as_they_were_raised(bus: Bus, error: PostbusError) -> None:
    async def fail(_: bytes) -> bytes:
        raise error

    await answer_with(bus, fail)
    with pytest.raises(type(error)) as caught:
        await call(bus)
    assert (caught.value.message, caught.value.code, caught.value.details) == (error.message, error.code, error.details)
    for name in ("fields", "status", "server_code", "retriable"):
        assert getattr(caught.value, name, None) == getattr(error, name, None)


async def test_an_error_of_a_part_arrives_as_its_kind(bus: Bus) -> None:
    async def fail(_: bytes) -> bytes:
        raise KeysUnavailable(SecretsState.VAULT_SEALED, "Vault is sealed")

    await answer_with(bus, fail)
    with pytest.raises(Unavailable, match="Vault is sealed") as caught:
        await call(bus)
    assert caught.value.code == "SecretsUnavailable"


async def test_a_mistake_of_ours_tells_nothing_to_the_outside(bus: Bus) -> None:
    async def fail(_: bytes) -> bytes:
        raise RuntimeError("password=s3cr3t")

    await answer_with(bus, fail)
    with pytest.raises(PostbusError, match=r"^Internal error$"):
        await call(bus)


async def test_a_deadline_ends_the_call_and_the_work(bus: Bus) -> None:
    ended = asyncio.Event()

    async def sleep(_: bytes) -> bytes:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return b""

    await answer_with(bus, sleep)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await call(bus, deadline_s=0.3)
    assert time.monotonic() - started < 3
    async with asyncio.timeout(5):
        await ended.wait()


async def test_a_slow_command_holds_up_no_other(bus: Bus) -> None:
    release = asyncio.Event()

    async def slow(_: bytes) -> bytes:
        await release.wait()
        return b"slow"

    async def quick(_: bytes) -> bytes:
        return b"quick"

    await rpc.serve(bus, "ee.rpc.1", {"slow": slow, "quick": quick})
    waiting = asyncio.create_task(call(bus, operation="slow"))
    await asyncio.sleep(0)
    assert await call(bus, operation="quick") == b"quick"
    release.set()
    assert await waiting == b"slow"


async def test_nobody_listens_is_unavailable_after_the_patience(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "TAKEOVER_S", 0.4)
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await call(bus)
    assert 0.4 < time.monotonic() - started < 3
    assert caught.value.code == "WorkerNotAvailable"


async def test_an_owner_that_is_late_still_gets_the_command_once(bus: Bus) -> None:
    taken: list[bytes] = []

    async def take(payload: bytes) -> bytes:
        taken.append(payload)
        return b"done"

    async def refuse(message: Msg, _: float) -> None:
        raise rpc.NotOwner("moved")

    early = await rpc.serve_messages(bus, "ee.rpc.1.op", refuse)
    waiting = asyncio.create_task(call(bus))
    await asyncio.sleep(0.2)
    await early.unsubscribe()
    await answer_with(bus, take)
    assert await waiting == b"done"
    assert len(taken) == 1


async def test_a_caller_that_gives_up_leaves_nothing_behind(bus: Bus) -> None:
    async def sleep(_: bytes) -> bytes:
        await asyncio.sleep(0.3)
        return b"late"

    await answer_with(bus, sleep)
    task = asyncio.create_task(call(bus))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await call(bus) == b"late"


async def test_of_several_servers_of_a_queue_one_takes_the_command(bus: Bus) -> None:
    taken: list[int] = []

    def taker(number: int) -> Callable[[bytes], Awaitable[bytes]]:
        async def take(_: bytes) -> bytes:
            taken.append(number)
            return b""

        return take

    for number in range(3):
        await rpc.serve(bus, "ee.rpc.auth", {"ensure": taker(number)}, queue="auth")
    for _ in range(10):
        await rpc.call(bus, "ee.rpc.auth.ensure", REQUEST, deadline_s=5)
    assert len(taken) == 10
