"""The one script that commits: it is fenced, it knows from which state, and sent twice it works once."""

import time
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from redis.asyncio import Redis

from postbus.common.accounts import AccountRecord, MailboxRecord
from postbus.common.events import AccountAdded, AccountInfo, Envelope, seal_event
from postbus.common.metrics import REGISTRY
from postbus.common.store import keys
from postbus.common.store.accounts import AccountStore, new_generation
from postbus.common.store.client import connect_store
from postbus.imap_sync.state.commit import Commit, MailboxChange
from postbus.imap_sync.state.index import MailboxIndex
from postbus.imap_sync.state.store import AccountGone, Fenced, IndexLost, StateConflict, SyncStore

pytestmark = pytest.mark.anyio

TOKEN = "acct"
EPOCH = 1_795_000_000_000


def event(number: int) -> Envelope:
    happened = AccountAdded(account=TOKEN, data=AccountInfo(account=TOKEN))
    return seal_event(happened, UUID(int=1), number)


def inbox(version: int, **values: object) -> MailboxRecord:
    return MailboxRecord.model_validate({"number": 1, "path": "INBOX", "uid_validity": 7, "version": version} | values)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect_store(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def generation(redis: Redis) -> UUID:
    drawn = new_generation()
    assert await AccountStore(redis).create(AccountRecord(account=TOKEN), {}, event(0), drawn)
    return drawn


async def test_a_commit_writes_everything_at_once(redis: Redis, generation: UUID) -> None:
    store = SyncStore(redis)
    assert (await store.take(TOKEN, EPOCH)).waiting == 1
    index = MailboxIndex()
    index.fill([(uid, ("\\Seen",)) for uid in range(1, 3001)])
    written, _ = index.take_changes()
    row = inbox(1, messages=3000, synced=True)
    commit = Commit([MailboxChange("INBOX", row, written, numbered=True)], [event(1), event(2)], {"state": "syncing"})
    assert await store.commit(TOKEN, EPOCH, generation, "", "first", commit) == 3

    account = await AccountStore(redis).get(TOKEN)
    assert (account.state.value, account.counters) == ("syncing", {"accountAdded": 2})
    assert await AccountStore(redis).mailboxes(TOKEN) == [row]
    assert await store.numbers(TOKEN, ["7:INBOX", "8:INBOX"]) == [1, None]
    assert len(await store.index(TOKEN, 1, None)) == 3000
    assert list((await store.index(TOKEN, 1, [0])).uids()) == list(range(1, 1024))
    assert (await store.take(TOKEN, EPOCH)).commit == "first"


async def test_a_commit_whose_answer_was_lost_can_be_sent_again(redis: Redis, generation: UUID) -> None:
    store = SyncStore(redis)
    await store.take(TOKEN, EPOCH)
    for _ in range(2):
        assert await store.commit(TOKEN, EPOCH, generation, "", "first", Commit(events=[event(1)])) == 2
    assert (await AccountStore(redis).get(TOKEN)).counters == {"accountAdded": 1}


async def test_a_stale_owner_writes_nothing(redis: Redis, generation: UUID) -> None:
    store = SyncStore(redis)
    await store.take(TOKEN, EPOCH)
    await store.take(TOKEN, EPOCH + 1)
    refused_before = REGISTRY.get_sample_value("fenced_writes_total") or 0.0
    with pytest.raises(Fenced):
        await store.take(TOKEN, EPOCH)
    with pytest.raises(Fenced):
        await store.commit(TOKEN, EPOCH, generation, "", "late", Commit(events=[event(1)]))
    entries = await store.read_outbox(TOKEN, 10)
    assert entries is not None
    with pytest.raises(Fenced):
        await store.trim_outbox(TOKEN, EPOCH, entries)
    assert await redis.llen(keys.outbox(TOKEN)) == 1
    assert REGISTRY.get_sample_value("fenced_writes_total") == refused_before + 3


async def test_the_number_of_a_mailbox_that_went_is_not_given_again(redis: Redis, generation: UUID) -> None:
    store = SyncStore(redis)
    await store.take(TOKEN, EPOCH)
    row = inbox(1)
    await store.commit(TOKEN, EPOCH, generation, "", "1", Commit([MailboxChange("INBOX", row, numbered=True)]))
    gone = MailboxChange("INBOX", None, wiped=row.number, retired=row)
    await store.commit(TOKEN, EPOCH, generation, "1", "2", Commit([gone]))
    assert await store.numbers(TOKEN, ["7:INBOX"]) == [None]
    assert await store.paths_once_numbered(TOKEN) == set()


async def test_another_state_than_the_one_that_was_changed_is_refused(redis: Redis, generation: UUID) -> None:
    store = SyncStore(redis)
    await store.take(TOKEN, EPOCH)
    await store.commit(TOKEN, EPOCH, generation, "", "first", Commit(fields={"state": "syncing"}))
    with pytest.raises(StateConflict):
        await store.commit(TOKEN, EPOCH, generation, "", "second", Commit(fields={"state": "connected"}))


async def test_a_deleted_account_is_not_brought_back(redis: Redis, generation: UUID) -> None:
    store = SyncStore(redis)
    await store.take(TOKEN, EPOCH)
    accounts = AccountStore(redis)
    await accounts.delete(await accounts.get(TOKEN))
    with pytest.raises(AccountGone):
        await store.commit(TOKEN, EPOCH, generation, "", "late", Commit(events=[event(1)], fields={"state": "init"}))
    with pytest.raises(AccountGone):
        await store.take(TOKEN, EPOCH)
    assert await redis.keys("*") == []
    again = new_generation()
    assert await accounts.create(AccountRecord(account=TOKEN), {}, event(0), again)
    await store.take(TOKEN, EPOCH)
    with pytest.raises(AccountGone):
        await store.commit(TOKEN, EPOCH, generation, "", "late", Commit(events=[event(1)]))


async def test_trimming_twice_removes_nothing_that_was_not_published(redis: Redis, generation: UUID) -> None:
    store = SyncStore(redis)
    await store.take(TOKEN, EPOCH)
    await store.commit(TOKEN, EPOCH, generation, "", "first", Commit(events=[event(n) for n in range(1, 6)]))
    entries = await store.read_outbox(TOKEN, 3)
    assert entries is not None
    assert [found.event_id for found in entries.events] == [event(n).event_id for n in range(3)]
    assert await store.trim_outbox(TOKEN, EPOCH, entries) == 3
    assert await store.trim_outbox(TOKEN, EPOCH, entries) == 3


async def test_an_entry_nobody_can_read_does_not_block_the_others(redis: Redis, generation: UUID) -> None:
    store = SyncStore(redis)
    await store.take(TOKEN, EPOCH)
    await redis.lpush(keys.outbox(TOKEN), b"\xc1 nonsense")
    entries = await store.read_outbox(TOKEN, 10)
    assert entries is not None
    assert (len(entries.events), entries.count) == (1, 2)
    assert await store.trim_outbox(TOKEN, EPOCH, entries) == 0


async def test_a_missing_or_damaged_index_is_lost(redis: Redis, generation: UUID) -> None:
    store = SyncStore(redis)
    with pytest.raises(IndexLost):
        await store.index(TOKEN, 1, None)
    await redis.hset(keys.index(TOKEN, 1), mapping={"sets": b"\x90", "0": b"odd"})
    with pytest.raises(IndexLost):
        await store.index(TOKEN, 1, [0])


async def test_many_thousand_arguments_fit_into_one_script(redis: Redis, generation: UUID) -> None:
    store = SyncStore(redis)
    await store.take(TOKEN, EPOCH)
    index = MailboxIndex()
    index.fill((uid, ()) for uid in range(1, 4_000_000, 500))
    written, _ = index.take_changes()
    commit = Commit([MailboxChange("INBOX", inbox(1), written)], [event(n) for n in range(1, 5001)])
    before = time.monotonic()
    assert await store.commit(TOKEN, EPOCH, generation, "", "first", commit) == 5001
    assert time.monotonic() - before < 2
    assert len(await store.index(TOKEN, 1, None)) == 8000
