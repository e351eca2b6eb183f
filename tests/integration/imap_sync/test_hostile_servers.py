"""A server that wants to hurt costs a connection, bounded memory and bounded time, never a neighbour (quirk 55)."""

import asyncio
import gc
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from postbus.common import commands, ids
from postbus.common.accounts import AccountState
from postbus.common.bus import rpc
from postbus.common.errors import PostbusError
from postbus.imap_sync.connection import Endpoint, open_connection
from postbus.imap_sync.protocol.values import UidRange
from postbus.imap_sync.wire import wire
from tests.integration.imap_sync.hostile_imap import ATTACKS, hostile_servers
from tests.integration.imap_sync.syncing import QUICK, open_system
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio

MOST_MEMORY = 150 * 1024 * 1024  # bytes
MOST_CPU_S = 12.0  # of the 30 s that an attack may last at most in life
LOUD = ("many greetings", "million lines", "lines of nobody", "endless flags", "huge literal", "deep nesting")
CONNECT_S = 1.0


@pytest.fixture(scope="module")
def hostile() -> Iterator[dict[str, int]]:
    with hostile_servers() as ports:
        yield ports


def peak() -> int:
    """The most memory this process had since `begin_peak`, in bytes."""
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def begin_peak() -> int:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


async def use(port: int, *, secure: bool) -> None:
    """What the sync does with a new account."""
    endpoint = Endpoint("127.0.0.1", port, secure=secure)
    connection = await open_connection(endpoint, None, deadline_s=CONNECT_S)
    try:
        await connection.list_mailboxes(with_status=True)
        await connection.select("INBOX", read_only=True)
        await connection.fetch_flags_compact([UidRange(1, 3)])
        async for _ in connection.fetch([UidRange(1, 3)], ("UID", "ENVELOPE", "BODYSTRUCTURE")):
            pass
    finally:
        connection.abort()


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_ends_with_the_connection_and_takes_little(
    attack: str, hostile: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if attack == "slow answer":
        monkeypatch.setattr(wire.Wire.run, "__kwdefaults__", {**(wire.Wire.run.__kwdefaults__ or {}), "total_s": 1.0})
    before, started = begin_peak(), time.process_time()
    with pytest.raises(PostbusError):
        async with asyncio.timeout(60):
            await use(hostile[attack], secure=attack == "slow handshake")
    assert time.process_time() - started < MOST_CPU_S
    assert peak() - before < MOST_MEMORY


async def test_neighbours_in_the_same_worker_go_on(
    fresh_nats: NatsServer, redis_url: str, mail: MailServer, hostile: dict[str, int]
) -> None:
    tuning = replace(QUICK, connect_s=8.0, first_backoff_s=1.0, longest_backoff_s=20.0)
    async with open_system(fresh_nats.url, redis_url, mail, tuning) as system:
        await system.start()
        neighbour = await system.connected()
        for attack in LOUD:
            await system.add(f"{attack.replace(' ', '-')}@example.test", port=hostile[attack])
        for number in range(1, 4):
            await system.deliver(neighbour)
            await system.event(neighbour, "messageNew", number)
            listing = commands.CountMailboxes(account=neighbour.record.account)
            subject = commands.owner_subject(ids.account_token(neighbour.record.account), "mailboxes")
            assert await rpc.call(system.parts.bus, subject, listing, deadline_s=10.0)  # an idle machine needs 0.1 s
        assert await system.parts.accounts.states([neighbour.record.account]) == [AccountState.CONNECTED]
