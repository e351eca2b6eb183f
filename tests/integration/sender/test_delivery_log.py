"""Deliveries in the log of their account: what the server answered, by code, without a secret, an address or a word."""

import json
from typing import Any

import pytest

from postbus.common.accounts import Account
from postbus.common.store import keys
from postbus.common.store.account_logs import read_log
from tests.integration.sender.conftest import Bench

pytestmark = pytest.mark.anyio


async def with_log(bench: Bench, account: Account) -> None:
    assert await bench.parts.accounts.update(account, account.record.model_copy(update={"logs": True}), {})


async def lines_of(bench: Bench, account: Account) -> list[dict[str, Any]]:
    pages = [page async for page in read_log(bench.parts.redis, account.token)]
    return [json.loads(line) for page in pages for line in page]


async def test_a_log_tells_of_deliveries_and_of_those_that_failed(bench: Bench) -> None:
    anna = await bench.account("anna-log")
    await with_log(bench, anna)
    await bench.start()
    sent = await bench.submit(anna, "bob-log@example.test")
    await bench.event(sent, "messageSent")
    refused = await bench.submit(anna, "reject-550@example.test")
    await bench.event(refused, "messageFailed")
    await bench.idle()
    lines = await lines_of(bench, anna)
    assert [(line["source"], line["event"]) for line in lines][:2] == [("smtp", "connected"), ("smtp", "accepted")]
    accepted, failed = (next(line for line in lines if line["event"] == event) for event in ("accepted", "failed"))
    assert (accepted["queueId"], accepted["taken"], accepted["replyCode"]) == (sent.queue_id, 1, 250)
    assert (failed["queueId"], failed["command"], failed["replyCode"]) == (refused.queue_id, "RCPT TO", 550)
    text = json.dumps(lines)
    assert not [planted for planted in ("bob-log", "reject-550", "Hello", "test\\r", "pass") if planted in text]


async def test_nothing_is_written_for_an_account_without_a_log(bench: Bench) -> None:
    anna = await bench.account("anna-nolog")
    await bench.start()
    sent = await bench.submit(anna, "bob-nolog@example.test")
    await bench.event(sent, "messageSent")
    await bench.idle()
    assert not await bench.parts.redis.exists(keys.log(anna.token))
