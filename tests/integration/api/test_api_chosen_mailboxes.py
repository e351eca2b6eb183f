"""Which mailboxes of an account are synced, watched and indexed, over HTTP (contract, sections 1 and 4)."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from postbus.common.service import Parts
from postbus.common.store import keys

pytestmark = pytest.mark.anyio

Body = Callable[..., dict[str, Any]]


async def shown(client: httpx.AsyncClient) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.get("/v1/account/example")).json()
    return answer


async def test_one_or_more_paths_and_special_uses_are_taken(client: httpx.AsyncClient, account_body: Body) -> None:
    await client.post("/v1/account", json=account_body(path="INBOX", subconnections="\\Sent"))
    account = await shown(client)
    assert (account["path"], account["subconnections"], account["imapIndexer"]) == (["INBOX"], ["\\Sent"], "full")
    changed = await client.put("/v1/account/example", json={"path": ["\\All", "*"], "subconnections": ["A", "B"]})
    assert changed.status_code == 200
    account = await shown(client)
    assert (account["path"], account["subconnections"]) == (["\\All", "*"], ["A", "B"])
    assert "disabledSubconnections" not in account
    await client.put("/v1/account/example", json={"path": None, "subconnections": []})
    account = await shown(client)
    assert (account["path"], account["subconnections"]) == (["*"], [])


async def test_a_subconnection_without_a_connection_is_shown_with_the_reason(
    client: httpx.AsyncClient, parts: Parts, account_body: Body
) -> None:
    await client.post("/v1/account", json=account_body(subconnections=["INBOX", "Work"]))
    note = {"path": "INBOX", "reason": "the main connection watches it already"}
    await parts.redis.hset(keys.account("example"), "subconnections", json.dumps([note]))
    assert (await shown(client))["disabledSubconnections"] == [note]


async def test_the_setting_is_the_indexer_of_accounts_that_do_not_say_which(
    client: httpx.AsyncClient, account_body: Body
) -> None:
    assert (await client.post("/v1/settings", json={"imapIndexer": "fast"})).status_code == 200
    try:
        asked = await client.get("/v1/settings", params={"imapIndexer": "true"})
        assert asked.json() == {"imapIndexer": "fast"}
        await client.post("/v1/account", json=account_body())
        assert (await shown(client))["imapIndexer"] == "fast"
        await client.post("/v1/account", json=account_body(imapIndexer="full"))
        assert (await shown(client))["imapIndexer"] == "full"
    finally:
        await client.post("/v1/settings", json={"imapIndexer": None})


@pytest.mark.parametrize(
    "wrong",
    [
        {"imapIndexer": "slow"},
        {"subconnections": ["x" * 257]},
        {"subconnections": [""]},
        {"subconnections": ["a\r\nb"]},
        {"subconnections": None},
        {"subconnections": ["x"] * 101},
        {"path": ["x" * 1025]},
        {"path": ["a\r\nb"]},
        {"path": [1]},
    ],
)
async def test_what_names_no_mailbox_is_refused(
    client: httpx.AsyncClient, account_body: Body, wrong: dict[str, Any]
) -> None:
    answer = await client.post("/v1/account", json=account_body(**wrong))
    assert answer.status_code == 400
    [field] = answer.json()["fields"]
    assert field["key"].split(".")[0].split("[")[0] in wrong
