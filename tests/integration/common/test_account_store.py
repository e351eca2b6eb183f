"""Accounts in a real store: nobody's change gets lost, ids may be any text, listings are in order."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest
from redis.asyncio import Redis

from postbus.common import ids
from postbus.common.accounts import Account, AccountRecord, AccountState, ImapSettings, SmtpStatus
from postbus.common.errors import NotFound, Unavailable
from postbus.common.events import AccountAdded, AccountInfo, seal_event
from postbus.common.store import keys
from postbus.common.store.accounts import AccountStore, new_generation
from postbus.common.store.client import check_durability, connect_store
from postbus.common.store.outbox import unpack_event
from tests.servers import ValkeyServer, free_port

pytestmark = pytest.mark.anyio

ODD = ["user@example.com", "ü *.> /", "a" * 250, "x_abc", "*", "{tag}", "\U0001f600"]


@pytest.fixture
def store(redis: Redis) -> AccountStore:
    return AccountStore(redis)


async def create(store: AccountStore, account: str, **fields: object) -> bool:
    record = AccountRecord.model_validate({"account": account, **fields})
    generation = new_generation()
    event = seal_event(AccountAdded(account=account, data=AccountInfo(account=account)), generation)
    return await store.create(record, {"imap.pass": f"v1:k:{account[:5]}"}, event, generation)


@pytest.mark.parametrize("account", ODD)
async def test_an_account_of_any_name_is_kept_with_its_secrets_and_first_event(
    store: AccountStore, redis: Redis, account: str
) -> None:
    assert await create(store, account, imap={"host": "h", "port": 143}, name="N")
    found = await store.get(account)
    assert found.record == AccountRecord(account=account, name="N", imap=ImapSettings(host="h", port=143))
    assert found.sealed == {"imap.pass": f"v1:k:{account[:5]}"}
    assert (found.state, found.revision) == (AccountState.INIT, 0)
    (entry,) = await redis.lrange(keys.outbox(found.token), 0, -1)
    assert isinstance(entry, bytes)
    event = unpack_event(entry)
    assert (event.account, event.event_id) == (account, ids.event_id(found.generation, "accountAdded"))
    assert await store.partition(ids.partition_of(found.token)) == {found.token}


async def test_an_id_that_is_taken_is_refused_and_nothing_changes(store: AccountStore) -> None:
    assert await create(store, "a", name="first")
    assert not await create(store, "a", name="second")
    assert (await store.get("a")).record.name == "first"


async def test_an_unknown_account_is_not_found_nor_is_one_of_a_similar_name(store: AccountStore) -> None:
    await create(store, "user@example.com")
    for name in ("nobody", ids.account_token("user@example.com"), "USER@example.com"):
        with pytest.raises(NotFound) as caught:
            await store.get(name)
        assert caught.value.code == "AccountNotFound"


async def test_of_many_who_change_an_account_at_once_nobody_overwrites_another(store: AccountStore) -> None:
    await create(store, "a", name="0")

    async def increment() -> None:
        while True:
            current = await store.get("a")
            record = current.record.model_copy(update={"name": str(int(current.record.name) + 1)})
            if await store.update(current, record, {}):
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(increment())
    found = await store.get("a")
    assert (found.record.name, found.revision) == ("20", 20)


async def test_secrets_are_replaced_and_removed_one_by_one(store: AccountStore) -> None:
    await create(store, "a")
    current = await store.get("a")
    assert await store.update(current, current.record, {"smtp.pass": "v1:s", "imap.pass": None})
    found = await store.get("a")
    assert found.sealed == {"smtp.pass": "v1:s"}
    assert found.generation == current.generation


async def test_a_change_to_an_account_that_is_gone_brings_nothing_back(store: AccountStore, redis: Redis) -> None:
    await create(store, "a")
    current = await store.get("a")
    await store.delete(current)
    assert not await store.update(current, current.record, {})
    assert await store.count() == 0
    assert await redis.keys("*") == []


async def test_deleting_removes_everything_of_this_account_and_nothing_of_others(
    store: AccountStore, redis: Redis
) -> None:
    await create(store, "a")
    await create(store, "b")
    account = await store.get("a")
    await redis.hset(keys.numbers("a"), mapping={"n:1": "7:INBOX", "7:INBOX": "1"})
    await redis.hset(keys.index("a", 1), "0", "x")
    await redis.hset(keys.mailboxes("a"), "INBOX", '{"number":1,"path":"INBOX"}')
    await redis.set(keys.credentials("a", "imap"), "sealed")
    await store.delete(account)
    await store.delete(account)
    assert await store.find("a") is None
    assert [name for name in await redis.keys("*") if b"{a}" in name] == []
    assert await store.ids() == ["b"]


@pytest.mark.parametrize("name", ["*", "acc*", "acc-?", "[a-z]cc-1", "{acc-1}", "acc-1:ix", "acc-1\\*"])
async def test_an_account_whose_id_is_a_pattern_takes_no_other_with_it(
    store: AccountStore, redis: Redis, name: str
) -> None:
    """Keys are named one by one, and ids get into them escaped (trap 93)."""
    await create(store, "acc-1")
    await redis.hset(keys.index("acc-1", 1), "0", "x")
    before = set(await redis.keys("ee:{acc-1}*"))
    await create(store, name)
    await store.delete(await store.get(name))
    assert set(await redis.keys("ee:{acc-1}*")) == before
    assert await store.ids() == ["acc-1"]


async def test_a_new_life_of_an_account_has_another_generation(store: AccountStore) -> None:
    await create(store, "a")
    first = await store.get("a")
    await store.delete(first)
    await create(store, "a")
    assert (await store.get("a")).generation != first.generation


async def test_pages_are_in_order_and_skip_what_is_gone(store: AccountStore, redis: Redis) -> None:
    for number in range(30):
        await create(store, f"acc-{number:02d}", name=str(number))
    assert [account.record.name for account in await store.page(10, 3)] == ["10", "11", "12"]
    assert await store.page(30, 10) == []
    assert await store.count() == 30
    await redis.delete(keys.account("acc-11"))
    assert [account.record.name for account in await store.page(10, 3)] == ["10", "12"]
    assert await store.states(["acc-10", "acc-11"]) == [AccountState.UNSET, None]


@pytest.mark.parametrize(("field", "value"), [("record", "{nonsense"), ("state", "unheard of"), ("generation", "x")])
async def test_a_record_that_can_not_be_read_hides_no_other(
    store: AccountStore, redis: Redis, field: str, value: str
) -> None:
    for name in ("a", "b", "c"):
        await create(store, name)
    await redis.hset(keys.account("b"), field, value)
    assert [account.record.account for account in await store.page(0, 10)] == ["a", "c"]


async def test_the_end_of_a_delivery_is_noted_for_accounts_that_are_there(store: AccountStore, redis: Redis) -> None:
    await create(store, "a")
    status = SmtpStatus(created=datetime(2026, 11, 25, tzinfo=UTC), status="ok", response="250 OK")
    await store.put_smtp_status("a", status)
    await store.put_smtp_status("gone", status)
    assert (await store.get("a")).smtp_status == status
    assert not await redis.exists(keys.account("gone"))


async def test_events_of_deliveries_are_counted_with_their_end_for_accounts_that_are_there(
    store: AccountStore, redis: Redis
) -> None:
    await create(store, "a")
    status = SmtpStatus(created=datetime(2026, 11, 25, tzinfo=UTC), status="ok", response="250 OK")
    await store.put_smtp_status("a", status, {"messageSent": 1})
    await store.put_smtp_status("a", status, {"messageSent": 1, "messageDeliveryError": 1})
    await store.put_smtp_status("gone", status, {"messageSent": 1})
    assert (await store.get("a")).counters == {"messageSent": 2, "messageDeliveryError": 1}
    assert not await redis.exists(keys.account("gone"))


async def test_what_the_sync_wrote_is_read_with_the_account(store: AccountStore, redis: Redis) -> None:
    await create(store, "a")
    written: dict[str, str] = {
        "state": "connectError",
        "lastError": '{"response":"no","serverResponseCode":"X"}',
        "count:messageNew": "3",
    }
    for name, value in written.items():
        await redis.hset(keys.account("a"), name, value)
    found: Account = await store.get("a")
    assert found.state is AccountState.CONNECT_ERROR
    assert found.last_error is not None
    assert found.last_error.response == "no"
    assert found.counters == {"messageNew": 3}
    assert isinstance(found.generation, UUID)


async def test_a_store_that_is_away_is_unavailable_and_comes_back_by_itself(fresh_valkey: ValkeyServer) -> None:
    client = connect_store(fresh_valkey.url)
    store = AccountStore(client)
    await create(store, "a")
    fresh_valkey.kill()
    with pytest.raises(Unavailable):
        await store.get("a")
    fresh_valkey.start()
    assert (await store.get("a")).record.account == "a"
    assert await create(store, "b")  # scripts are known again
    await client.aclose()


async def test_a_store_that_is_not_there_is_unavailable() -> None:
    client = connect_store(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(Unavailable):
        await AccountStore(client).count()
    await client.aclose()


async def test_a_store_that_may_lose_writes_is_told(redis: Redis, fresh_valkey: ValkeyServer) -> None:
    """Its eviction policy is checked, too (trap 91)."""
    assert "append-only" in " ".join(await check_durability(redis))
    durable = connect_store(fresh_valkey.url)
    assert await check_durability(durable) == []
    await durable.config_set("maxmemory", "100mb")
    await durable.config_set("maxmemory-policy", "allkeys-lru")
    assert "evicts" in " ".join(await check_durability(durable))
    await durable.aclose()
