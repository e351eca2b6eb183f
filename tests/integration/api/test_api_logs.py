"""`GET /v1/logs/{account}`, and the switches of logs."""

import json

import httpx
import pytest

from postbus.api import owner as owner_module
from postbus.common.errors import AccountNotUsable
from postbus.common.service import Parts
from postbus.common.store.account_logs import append_log
from tests.integration.api.conftest import ScriptedOwner

pytestmark = pytest.mark.anyio


async def test_a_log_is_text_with_one_object_a_line(client: httpx.AsyncClient, parts: Parts, account: str) -> None:
    lines = [b'{"n":%d}' % number for number in range(1_234)]
    await append_log(parts.redis, account, "b1", lines, max_lines=9_999)
    answer = await client.get(f"/v1/logs/{account}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert [json.loads(line)["n"] for line in answer.text.splitlines()] == list(range(1_234))


async def test_an_empty_log_says_so(client: httpx.AsyncClient, account: str) -> None:
    answer = await client.get(f"/v1/logs/{account}")
    assert (answer.status_code, answer.text) == (200, "There are no log lines for this account\n")
    assert answer.headers["content-type"].startswith("text/plain")
    assert (await client.get("/v1/logs/nobody")).status_code == 404
    assert (await client.get(f"/v1/logs/{account}?x=1")).status_code == 400


async def test_a_removed_account_takes_its_log_with_it(client: httpx.AsyncClient, parts: Parts, account: str) -> None:
    await append_log(parts.redis, account, "b1", [b"{}"], max_lines=9)
    await client.delete(f"/v1/account/{account}")
    assert await parts.redis.keys(f"ee:{{{account}}}:log*") == []


async def test_an_account_has_a_switch_for_its_log(client: httpx.AsyncClient, account: str) -> None:
    url = f"/v1/account/{account}"
    assert (await client.get(url)).json()["logs"] is False
    assert (await client.put(url, json={"logs": True})).status_code == 200
    assert (await client.get(url)).json()["logs"] is True
    await client.put(url, json={"name": "Somebody"})
    assert (await client.get(url)).json()["logs"] is True


async def test_the_setting_of_logs_is_checked_and_told(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/settings?logs=true")).json() == {"logs": None}
    wrong = await client.post("/v1/settings", json={"logs": {"all": "maybe", "maxLogLines": -1, "x": 1}})
    assert {one["key"] for one in wrong.json()["fields"]} == {"logs.all", "logs.maxLogLines", "logs.x"}
    assert (await client.post("/v1/settings", json={"logs": {"all": "Y", "accounts": ["a"]}})).status_code == 200
    told = (await client.get("/v1/settings?logs=true")).json()["logs"]
    assert told == {"all": True, "maxLogLines": 10_000, "accounts": ["a"]}
    assert (await client.post("/v1/settings", json={"logs": None})).status_code == 200


async def test_open_connections_are_told_where_the_owner_says_so(
    client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    url = f"/v1/account/{account}"
    owner.answers["connections"] = b"3"
    assert (await client.get(url)).json()["connections"] == 3
    owner.answers["connections"] = AccountNotUsable("no")
    assert "connections" not in (await client.get(url)).json()


async def test_an_account_that_nobody_owns_is_told_at_once(
    client: httpx.AsyncClient, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_module, "COUNT_S", 60.0)
    answer = await client.get(f"/v1/account/{account}")
    assert answer.status_code == 200
    assert "connections" not in answer.json()
    assert answer.elapsed.total_seconds() < 5
