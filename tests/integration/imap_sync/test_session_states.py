"""An account goes through its states, tells of the first error of a run, and comes back by itself."""

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from postbus.common import commands, ids
from postbus.common.accounts import Account, AccountState
from postbus.common.bus import rpc
from postbus.common.errors import AccountNotUsable, NotFound
from postbus.common.store import keys
from tests.integration.imap_sync.syncing import QUICK, System, open_system, until, until_true
from tests.mailserver import MailServer
from tests.servers import NatsServer, ValkeyServer

pytestmark = pytest.mark.anyio


async def ask(system: System, account: str, operation: str = "mailboxes", deadline_s: float = 10.0) -> bytes:
    subject = commands.owner_subject(ids.account_token(account), operation)
    return await rpc.call(system.parts.bus, subject, commands.CountMailboxes(account=account), deadline_s=deadline_s)


async def current(system: System, account: Account) -> Account:
    return await system.parts.accounts.get(account.record.account)


async def change(system: System, account: Account, *, password: str | None = None, **imap: object) -> None:
    """What the API does for PUT /v1/account."""
    now = await current(system, account)
    assert now.record.imap is not None
    record = now.record.model_copy(update={"imap": now.record.imap.model_copy(update=imap)})
    name = record.account
    sealed = {"imap.pass": system.parts.secrets.seal(password, account=name, field="imap.pass")} if password else {}
    assert await system.parts.accounts.update(now, record, sealed)
    await system.changed(name)


async def test_the_first_connection_tells_in_order_what_happened(system: System) -> None:
    await system.start()
    account = await system.connected()
    kinds = [event.event for event in system.of(account)]
    assert kinds[:2] == ["accountAdded", "authenticationSuccess"]
    assert kinds[-1] == "accountInitialized"
    assert set(kinds[2:-1]) == {"mailboxNew"}
    now = await current(system, account)
    assert now.connected_before
    assert now.sync_time
    assert now.counters["accountInitialized"] == 1


async def test_a_restart_tells_nothing_again(system: System) -> None:
    first = await system.start()
    account = await system.connected()
    told = len(system.events)
    await first.stop()
    await system.start("w2")
    await system.in_state(account, AccountState.CONNECTED)
    await system.deliver(account)
    await system.event(account, "messageNew")
    assert len(system.events) == told + 1


async def test_a_wrong_password_is_told_once_and_a_right_one_helps_at_once(system: System) -> None:
    await system.start(tuning=replace(QUICK, first_backoff_s=0.02))
    account = await system.add(password="wrong")
    error = await system.event(account, "authenticationError")
    assert error.data.server_response_code == "AUTHENTICATIONFAILED"
    assert (await current(system, account)).state is AccountState.AUTHENTICATION_ERROR
    with pytest.raises(AccountNotUsable) as refused:
        await ask(system, account.record.account)
    assert (refused.value.code, refused.value.details) == ("AuthenticationFails", {"state": "authenticationError"})
    await asyncio.sleep(1.5)  # several more attempts
    assert len(system.of(account, "authenticationError")) == 1

    await change(system, account, password="pass")
    await system.event(account, "accountInitialized")
    assert len(system.of(account, "authenticationSuccess")) == 1
    assert (await current(system, account)).last_error is None


async def test_a_dropped_connection_is_made_again_and_nothing_is_missed(system: System) -> None:
    await system.start()
    account = await system.connected()
    for round_ in range(1, 4):
        await asyncio.to_thread(system.mail.kick, f"{account.record.account}@example.test")
        await system.deliver(account)
        await system.event(account, "messageNew", round_)
    assert not system.repeated()
    assert not system.of(account, "connectError")


async def test_a_server_that_is_away_is_told_once_and_found_again(fresh_nats: NatsServer, redis_url: str) -> None:
    with MailServer(mta="none") as mail:
        async with open_system(fresh_nats.url, redis_url, mail) as system:
            await system.start()
            account = await system.connected()
            await asyncio.to_thread(mail.service, "dovecot", "stop")
            error = await system.event(account, "connectError")
            assert error.data.server_response_code == "ECONNREFUSED"
            assert (await current(system, account)).last_error is not None
            with pytest.raises(AccountNotUsable):
                await ask(system, account.record.account)
            await asyncio.to_thread(mail.service, "dovecot", "start")
            await system.in_state(account, AccountState.CONNECTED)
            await system.deliver(account)
            await system.event(account, "messageNew")
            assert len(system.of(account, "connectError")) == 1
            assert len(system.of(account, "authenticationSuccess")) == 2
            assert (await current(system, account)).last_error is None


async def test_an_account_without_imap_has_no_connection(system: System) -> None:
    """Nor does one that is switched off report an error (trap 39)."""
    await system.start()
    account = await system.connected()
    await change(system, account, disabled=True)
    await system.in_state(account, AccountState.UNSET)
    with pytest.raises(AccountNotUsable) as refused:
        await ask(system, account.record.account)
    assert refused.value.code == "NoAvailable"
    assert (await current(system, account)).last_error is None
    assert not system.of(account, "connectError", "authenticationError")
    await change(system, account, disabled=False)
    await system.in_state(account, AccountState.CONNECTED)


async def test_a_deleted_account_stops_without_an_error(system: System) -> None:
    """A connection that we close ourselves reports no error and does not come back (trap 39)."""
    running = await system.start()
    account = await system.connected()
    told = len(system.events)
    await system.parts.accounts.delete(await current(system, account))
    await system.changed(account.record.account)
    await until_true(lambda: not running.worker.runners, "stopped")
    with pytest.raises(NotFound, match="was not found"):
        await ask(system, account.record.account)
    assert len(system.events) == told
    assert await system.parts.redis.keys(f"ee:{{{account.token}}}*") == []


async def test_changes_are_found_without_any_hint(system: System) -> None:
    running = await system.start()
    account = await system.connected()
    await system.parts.accounts.delete(await current(system, account))
    await until_true(lambda: not running.worker.runners, "stopped")


async def test_reconnect_starts_anew(system: System) -> None:
    running = await system.start()
    account = await system.connected()
    before = running.worker.runners[account.token]
    assert await ask(system, account.record.account, "reconnect") == b"{}"
    assert running.worker.runners[account.token] is not before
    await system.in_state(account, AccountState.CONNECTED)
    with pytest.raises(NotFound):
        await ask(system, "nobody", "reconnect")


async def test_a_lost_index_is_built_again_and_old_mail_is_not_told_again(system: System) -> None:
    await system.start()
    account = await system.connected()
    await system.deliver(account, n=3)
    await system.event(account, "messageNew", 3)
    inbox = await system.mailbox(account, "INBOX")
    assert inbox is not None
    await system.parts.redis.delete(keys.index(account.token, inbox.number))
    await system.deliver(account)
    reset = await system.event(account, "mailboxReset")
    assert (reset.path, reset.data.reason) == ("INBOX", "syncStateLost")
    await system.event(account, "messageNew", 4)
    await system.deliver(account)
    await system.event(account, "messageNew", 5)
    assert [event.data.uid for event in system.of(account, "messageNew")] == [1, 2, 3, 4, 5]


async def test_a_lost_list_of_mailboxes_announces_no_old_mail(system: System) -> None:
    first = await system.start()
    account = await system.connected()
    await system.deliver(account, n=3)
    await system.event(account, "messageNew", 3)
    await first.stop()
    before = await system.mailbox(account, "INBOX")
    await system.parts.redis.delete(keys.mailboxes(account.token))
    await system.start("w2")
    await until_true(lambda: any(event.path == "INBOX" for event in system.of(account, "mailboxReset")), "reset")
    after = await system.mailbox(account, "INBOX")
    assert before is not None
    assert after is not None
    assert (after.number, after.messages) == (before.number, 3)
    assert len(system.of(account, "messageNew")) == 3


async def test_a_store_that_lost_everything_stops_its_accounts_and_takes_them_again(system: System) -> None:
    running = await system.start()
    account = await system.connected()
    await system.deliver(account, n=2)
    await system.event(account, "messageNew", 2)
    await system.parts.redis.flushall()
    await until_true(lambda: not running.worker.runners, "stopped")
    again = await system.add(user=f"{account.record.account}@example.test")

    async def indexed() -> bool:
        row = await system.mailbox(again, "INBOX")
        return row is not None and row.messages == 2 and row.synced

    await until(indexed, "indexed again")
    assert again.generation != account.generation


async def test_events_wait_while_the_bus_is_away(fresh_nats: NatsServer, redis_url: str, mail: MailServer) -> None:
    async with open_system(fresh_nats.url, redis_url, mail) as system:
        await system.start()
        account = await system.connected()
        outbox = keys.outbox(account.token)
        await asyncio.to_thread(fresh_nats.kill)
        await system.deliver(account, n=2)

        async def waiting() -> bool:
            return int(await system.parts.redis.llen(outbox)) == 2

        async def published() -> bool:
            return int(await system.parts.redis.llen(outbox)) == 0

        await until(waiting, "two events in the outbox")
        await asyncio.to_thread(fresh_nats.start)
        await until(published, "an empty outbox")
        info = await system.parts.bus.js.stream_info("EVENTS", subjects_filter="ee.events.*.messageNew.*")
        assert list((info.state.subjects or {}).values()) == [2]


async def test_a_burst_is_told_completely(system: System) -> None:
    await system.start()
    account = await system.connected()
    user = f"{account.record.account}@example.test"
    await asyncio.to_thread(system.mail.seed, user, 600)
    await system.event(account, "messageNew", 600)
    uids = [event.data.uid for event in system.of(account, "messageNew")]
    assert uids == list(range(1, 601))
    assert not system.repeated()


async def test_a_store_that_was_away_costs_nothing(
    fresh_nats: NatsServer, fresh_valkey: ValkeyServer, mail: MailServer
) -> None:
    async with open_system(fresh_nats.url, fresh_valkey.url, mail) as system:
        await system.start()
        account = await system.connected()
        await asyncio.to_thread(fresh_valkey.kill)
        await system.deliver(account, n=3)
        await asyncio.to_thread(fresh_valkey.start)
        await system.event(account, "messageNew", 3)
        await system.in_state(account, AccountState.CONNECTED)
        assert not system.repeated()
        assert not system.of(account, "connectError", "mailboxReset")


async def test_an_account_that_can_not_be_read_stops_no_other(system: System) -> None:
    broken = await system.add()
    await system.parts.redis.hset(keys.account(broken.token), "record", '{"imap": 7}')
    await system.start()
    account = await system.connected()
    await system.deliver(account)
    await system.event(account, "messageNew")


async def test_an_account_whose_record_breaks_while_it_runs_stops_no_other(system: System) -> None:
    running = await system.start()
    broken, damaged, account = [await system.connected() for _ in range(3)]
    await system.parts.redis.hset(keys.account(broken.token), mapping={"record": '{"imap": 7}', "revision": 9})
    await system.parts.redis.hset(keys.account(damaged.token), "revision", 9)
    await system.parts.redis.hdel(keys.account(damaged.token), "state")
    with capture_logs() as logs:
        await system.changed(broken.record.account)
        tokens = {broken.token, damaged.token}
        await until_true(
            lambda: {line["account"] for line in logs if line["event"] == "account not readable"} == tokens,
            "both are looked at",
        )
    assert not running.task.done()
    await system.deliver(account)
    await system.event(account, "messageNew")
