"""How an account comes back: soon after an outage, slowly to a server that drops, and with the server's own words."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from postbus.common import commands, ids
from postbus.common.accounts import AccountState
from postbus.common.bus import rpc
from postbus.imap_sync.connecting import Connector
from tests.integration.imap_sync.syncing import QUICK, System, until, until_true

pytestmark = pytest.mark.anyio


@dataclass
class Doorkeeper:
    """An IMAP server that answers LOGIN with these lines and closes the connection then, or later."""

    lines: list[str]
    lets_in: bool = False
    port: int = 0
    logins: list[float] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK [CAPABILITY IMAP4rev1] ready\r\n")
        with contextlib.suppress(ConnectionError):
            while line := (await reader.readline()).decode().strip():
                tag, _, rest = line.partition(" ")
                if rest.startswith("LOGIN"):
                    self.logins.append(asyncio.get_running_loop().time())
                    writer.write("".join(f"{line}\r\n" for line in self.lines).replace("TAG", tag).encode())
                elif rest == "CAPABILITY" and self.lets_in:
                    writer.write(f"* CAPABILITY IMAP4rev1\r\n{tag} OK\r\n".encode())
                else:
                    break
        writer.close()


@asynccontextmanager
async def doorkeeper(*lines: str, lets_in: bool = False) -> AsyncIterator[Doorkeeper]:
    keeper = Doorkeeper(list(lines), lets_in)
    server = await asyncio.start_server(keeper.serve, "127.0.0.1", 0)
    keeper.port = server.sockets[0].getsockname()[1]
    try:
        yield keeper
    finally:
        server.close()


@pytest.mark.parametrize("lets_in", [False, True], ids=["at once", "when something is asked"])
async def test_a_server_that_lets_in_and_drops_is_logged_into_slower_and_slower(system: System, lets_in: bool) -> None:
    """It is never a storm of logins (trap 40)."""
    await system.start(tuning=replace(QUICK, first_backoff_s=0.2, longest_backoff_s=2.0))
    async with doorkeeper("TAG OK welcome", lets_in=lets_in) as keeper:
        await system.add(port=keeper.port)
        await until_true(lambda: len(keeper.logins) >= 5, "five logins")
        gaps = [later - earlier for earlier, later in zip(keeper.logins, keeper.logins[1:], strict=False)]
        assert gaps[0] >= 0.1
        assert sum(gaps[:4]) >= (0.2 + 0.3 + 0.45 + 0.675) / 2


async def test_the_words_of_a_server_that_refuses_a_login_are_kept(system: System) -> None:
    """As text, with what it wants people to read (trap 42)."""
    await system.start()
    said = "* OK [ALERT] Please visit https://mail.example/unlock", "TAG NO [AUTHENTICATIONFAILED] Not today"
    async with doorkeeper(*said) as keeper:
        account = await system.add(port=keeper.port)
        await system.in_state(account, AccountState.AUTHENTICATION_ERROR)
        error = (await system.parts.accounts.get(account.record.account)).last_error
        assert error is not None
        assert (error.response, error.server_response_code) == ("Not today", "AUTHENTICATIONFAILED")
        assert error.description == "Please visit https://mail.example/unlock"


async def test_the_words_of_a_server_that_says_goodbye_are_kept(system: System) -> None:
    """(trap 42)"""
    await system.start()
    async with doorkeeper("TAG OK welcome", "* BYE [UNAVAILABLE] Closed for maintenance") as keeper:
        account = await system.add(port=keeper.port)
        told = await system.event(account, "connectError")
        assert (told.data.response, told.data.server_response_code) == ("Closed for maintenance", "UNAVAILABLE")
        error = (await system.parts.accounts.get(account.record.account)).last_error
        assert error is not None
        assert error.response == "Closed for maintenance"


async def test_the_reason_of_a_lost_connection_is_kept_until_the_server_lets_us_in_again(system: System) -> None:
    """And no event is made of it: a connection that comes back at once is nothing to tell of (trap 42)."""
    await system.start(tuning=replace(QUICK, first_backoff_s=4.0, longest_backoff_s=4.0))
    account = await system.connected()
    await asyncio.to_thread(system.mail.kick, f"{account.record.account}@example.test")
    await system.in_state(account, AccountState.DISCONNECTED)
    error = (await system.parts.accounts.get(account.record.account)).last_error
    assert error is not None
    assert error.response
    await system.in_state(account, AccountState.CONNECTED)
    assert (await system.parts.accounts.get(account.record.account)).last_error is None
    assert len(system.of(account, "authenticationSuccess")) == 1


async def test_an_account_that_somebody_asks_for_starts_ahead_of_the_others(system: System) -> None:
    """Many accounts start one after the other; a request wakes its own (trap 90)."""
    sleepers = [await system.add() for _ in range(4)]
    running = await system.start(tuning=replace(QUICK, starts_per_s=0.01))  # within 400 s
    await until_true(lambda: len(running.worker.runners) >= 4, "all are about to start")
    asleep = [one for one in sleepers if not running.worker.runners[one.token].session.ready.is_set()]
    wanted = asleep[0]
    command = commands.CountMailboxes(account=wanted.record.account)
    subject = commands.owner_subject(ids.account_token(command.account), "mailboxes")
    with contextlib.suppress(Exception):  # it may come too early to be answered
        await rpc.call(system.parts.bus, subject, command, deadline_s=5.0)
    await system.in_state(wanted, AccountState.CONNECTED)
    still = [one for one in sleepers if not running.worker.runners[one.token].session.ready.is_set()]
    assert len(still) >= 2


async def test_an_account_that_is_wanted_does_not_wait_for_the_turn_of_the_others(system: System) -> None:
    """(trap 90)"""
    connector = Connector(system.parts, replace(QUICK, logins_per_host=4))
    slow = await system.add(port=system.mail.proxy["imap"])
    wanted = await system.add()
    system.mail.proxy_set("imap", mode="blackhole")
    credentials = await connector.credentials(slow)
    crowd = [asyncio.create_task(connector.connect(slow, credentials, on_event=print)) for _ in range(5)]

    async def trying() -> bool:
        return bool((await asyncio.to_thread(system.mail.proxy_info))["imap"]["open"])

    try:
        await until(trying, "one tries, the others wait")
        async with asyncio.timeout(5):
            credentials = await connector.credentials(wanted)
            connection = await connector.connect(wanted, credentials, on_event=print, urgent=True)
        await connection.logout()
    finally:
        for task in crowd:
            task.cancel()
        await asyncio.wait(crowd)
        system.mail.proxy_clear("imap")


async def test_an_account_comes_back_within_seconds_after_an_outage(system: System) -> None:
    await system.start(tuning=replace(QUICK, first_backoff_s=2.0, longest_backoff_s=600.0))  # as the product has it
    account = await system.add(port=system.mail.proxy["imap"])
    await system.in_state(account, AccountState.CONNECTED)
    system.mail.proxy_set("imap", mode="reset")
    await asyncio.to_thread(system.mail.kick, f"{account.record.account}@example.test")
    try:
        await system.in_state(account, AccountState.CONNECT_ERROR)
        await asyncio.sleep(2.0)
    finally:
        system.mail.proxy_clear("imap")
    back = asyncio.get_running_loop().time()
    await system.in_state(account, AccountState.CONNECTED)
    assert asyncio.get_running_loop().time() - back < 5.0
