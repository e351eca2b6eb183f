"""Logs of accounts: written in batches, limited in every direction, read page by page, gone with their account."""

import asyncio
import json

import pytest
from redis.asyncio import Redis

from postbus.common.account_log import MAX_WAITING, AccountLog
from postbus.common.store import account_logs, keys
from postbus.common.store.account_logs import append_log, read_log
from postbus.common.store.client import connect_store
from tests.servers import ValkeyServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def account(redis: Redis) -> str:
    await redis.hset(keys.account("a"), "record", "{}")
    return "a"


async def lines_of(redis: Redis, account: str) -> list[bytes]:
    return [line async for page in read_log(redis, account) for line in page]


async def test_lines_are_kept_in_order_and_read_page_by_page(redis: Redis, account: str) -> None:
    written = [b'{"n":%d}' % number for number in range(1_234)]
    await append_log(redis, account, "b1", written[:1_000], max_lines=9_999)
    await append_log(redis, account, "b2", written[1_000:], max_lines=9_999)
    assert await lines_of(redis, account) == written
    assert await lines_of(redis, "other") == []


async def test_a_batch_that_is_sent_twice_is_kept_once(redis: Redis, account: str) -> None:
    for _ in range(2):
        await append_log(redis, account, "b1", [b"x"], max_lines=10)
    assert await lines_of(redis, account) == [b"x"]


async def test_the_oldest_lines_go_when_there_are_too_many(redis: Redis, account: str) -> None:
    for number in range(30):
        await append_log(redis, account, str(number), [b"%d" % number, b"-"], max_lines=7)
    assert await lines_of(redis, account) == [b"-", b"27", b"-", b"28", b"-", b"29", b"-"]


async def test_the_oldest_lines_go_when_they_are_too_large(
    redis: Redis, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_logs, "MAX_LOG_BYTES", 1_000)
    for number in range(30):
        await append_log(redis, account, str(number), [b"%02d" % number + b"x" * 98], max_lines=999)
    left = await lines_of(redis, account)
    assert [line[:2] for line in left] == [b"%d" % number for number in range(20, 30)]
    await append_log(redis, account, "large", [b"y" * 2_000], max_lines=999)
    assert await lines_of(redis, account) == []


async def test_who_reads_while_lines_go_reads_none_twice(redis: Redis, account: str) -> None:
    written = [b"%d" % number for number in range(1_100)]
    await append_log(redis, account, "b1", written, max_lines=1_100)
    pages = read_log(redis, account)
    read = list(await anext(pages))
    await append_log(redis, account, "b2", [b"new"] * 600, max_lines=1_100)  # drops the first 600
    async for page in pages:
        read += page
    assert read == [*written[:500], *written[600:], *[b"new"] * (len(read) - 1_000)]


async def test_a_log_ends_by_itself_and_with_its_account(redis: Redis, account: str) -> None:
    await append_log(redis, account, "b1", [b"x"], max_lines=10)
    for name in (keys.log(account), keys.log_state(account)):
        assert 0 < await redis.ttl(name) <= account_logs.KEPT_S
    await redis.delete(keys.account(account), keys.log(account), keys.log_state(account))
    await append_log(redis, account, "b2", [b"y"], max_lines=10)
    assert await redis.keys("*") == []


async def test_nothing_is_written_while_the_log_is_off(redis: Redis, account: str) -> None:
    limit = 0
    log = AccountLog(redis, account, lambda: limit)
    log.add("imap", event="command")
    assert not log.on
    limit = 5
    for number in range(3):
        log.add("imap", number=number)
    limit = 0
    await log.close()
    assert [json.loads(line)["number"] for line in await lines_of(redis, account)] == [0, 1, 2]


async def test_many_lines_make_one_command(redis: Redis, account: str) -> None:
    log = AccountLog(redis, account, lambda: 9_999)
    before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] if await redis.dbsize() else 0
    for number in range(500):
        log.add("imap", number=number)
    await log.close()
    after = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert after - before <= 2
    assert len(await lines_of(redis, account)) == 500


async def test_lines_wait_in_bounds_while_the_store_is_away(fresh_valkey: ValkeyServer) -> None:
    redis = connect_store(fresh_valkey.url)
    await redis.hset(keys.account("a"), "record", "{}")
    log = AccountLog(redis, "a", lambda: 9_999)
    await asyncio.to_thread(fresh_valkey.kill)
    for number in range(MAX_WAITING + 50):
        log.add("imap", number=number)
    await asyncio.to_thread(fresh_valkey.start)
    await log.close()
    found = [json.loads(line) for line in await lines_of(redis, "a")]
    assert found[0]["dropped"] == 50
    assert [line["number"] for line in found[1:]] == list(range(50, MAX_WAITING + 50))
    await redis.aclose()
