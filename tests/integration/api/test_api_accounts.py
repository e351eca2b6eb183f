"""Contract, sections 1, 4 and 5: accounts over HTTP."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from nats.aio.msg import Msg

from postbus.common import ids
from postbus.common.accounts import AccountState, LastError
from postbus.common.service import Parts
from postbus.common.store import keys
from postbus.common.store.client import as_text
from postbus.common.store.outbox import unpack_event

pytestmark = pytest.mark.anyio

Body = Callable[..., dict[str, Any]]


async def test_registering_is_new_first_and_existing_then(client: httpx.AsyncClient, account_body: Body) -> None:
    first = await client.post("/v1/account", json=account_body())
    second = await client.post("/v1/account", json=account_body(name="Other"))
    assert (first.status_code, first.json()) == (200, {"account": "example", "state": "new"})
    assert (second.status_code, second.json()) == (200, {"account": "example", "state": "existing"})
    assert (await client.get("/v1/account/example")).json()["name"] == "Other"


async def test_an_account_shows_what_is_stored_but_its_secrets(client: httpx.AsyncClient, account: str) -> None:
    shown = (await client.get(f"/v1/account/{account}")).json()
    assert shown["imap"]["auth"] == {"user": "kaarel", "pass": "******"}
    assert shown["smtp"]["auth"] == {"user": "kaarel", "pass": "******"}
    assert (
        shown["imap"] | {"host": "imap.example.com", "port": 993, "secure": True, "resyncDelay": 900} == shown["imap"]
    )
    assert shown["type"] == "imap"
    assert shown["state"] == "init"
    assert shown["path"] == ["*"]
    assert shown["lastError"] is None
    assert "secret" not in json.dumps(shown)


async def test_secrets_are_sealed_from_the_first_write(parts: Parts, account: str) -> None:
    row = await parts.redis.hgetall(keys.account(account))
    assert not any("secret" in as_text(value) for value in row.values())
    stored = await parts.accounts.get(account)
    assert set(stored.sealed) == {"imap.pass", "smtp.pass"}
    assert await parts.secrets.open(stored.sealed["imap.pass"], account=account, field="imap.pass") == "imap secret"


async def test_registering_puts_account_added_into_the_outbox_and_tells_the_workers(
    parts: Parts, client: httpx.AsyncClient, account_body: Body
) -> None:
    told: asyncio.Queue[Msg] = asyncio.Queue()
    await parts.bus.nc.subscribe("ee.ctl.accounts", cb=told.put)
    await client.post("/v1/account", json=account_body())
    async with asyncio.timeout(5):
        message = await told.get()
    assert message.data == b"example"
    (entry,) = await parts.redis.lrange(keys.outbox("example"), 0, -1)
    assert isinstance(entry, bytes) and unpack_event(entry).event == "accountAdded"


async def test_an_account_without_imap_is_unset_and_sends_only(client: httpx.AsyncClient, account_body: Body) -> None:
    await client.post("/v1/account", json=account_body(imap=False))
    shown = (await client.get("/v1/account/example")).json()
    assert (shown["state"], shown["type"], shown["sendOnly"]) == ("unset", "sending", True)
    assert "imap" not in shown


async def test_a_null_id_is_made(client: httpx.AsyncClient, account_body: Body) -> None:
    answer = await client.post("/v1/account", json=account_body(account=None))
    made = answer.json()["account"]
    assert (await client.get(f"/v1/account/{made}")).json()["account"] == made


@pytest.mark.parametrize(
    "account", ["with space", "a@example.com", "*", "a/b/../c", "/", "ä€🙂", "%2F", "x_a", "a?b#c", "." * 3, "a" * 256]
)
async def test_an_id_may_be_any_text(client: httpx.AsyncClient, account_body: Body, account: str) -> None:
    assert (await client.post("/v1/account", json=account_body(account=account))).status_code == 200
    url = f"/v1/account/{quote(account, safe='')}"
    assert (await client.get(url)).json()["account"] == account
    assert (await client.put(f"{url}/reconnect", json={"reconnect": False})).json() == {"reconnect": False}
    assert (await client.delete(url)).json() == {"account": account, "deleted": True}
    assert (await client.get(url)).status_code == 404


async def test_an_id_is_trimmed_and_has_a_limit(client: httpx.AsyncClient, account_body: Body) -> None:
    assert (await client.post("/v1/account", json=account_body(account="  a  "))).json()["account"] == "a"
    too_long = await client.post("/v1/account", json=account_body(account="a" * 257))
    assert (too_long.status_code, too_long.json()["fields"][0]["key"]) == (400, "account")
    assert (await client.get("/v1/account/" + "a" * 257)).status_code == 400


async def test_masked_secrets_that_come_back_change_nothing(
    parts: Parts, client: httpx.AsyncClient, account: str
) -> None:
    before = (await parts.accounts.get(account)).sealed
    shown = (await client.get(f"/v1/account/{account}")).json()
    for body in ({"imap": shown["imap"]}, {"imap": {"partial": True, "auth": shown["imap"]["auth"]}}):
        assert (await client.put(f"/v1/account/{account}", json=body)).status_code == 200
    assert (await parts.accounts.get(account)).sealed == before


async def test_a_mask_for_a_secret_that_is_not_there_is_refused(client: httpx.AsyncClient, account_body: Body) -> None:
    imap = {"host": "h.example", "port": 993, "auth": {"user": "u", "pass": "******"}}
    answer = await client.post("/v1/account", json=account_body(imap=imap))
    assert (answer.status_code, answer.json()["fields"][0]["key"]) == (400, "imap.auth.pass")


async def test_partial_changes_merge_and_others_replace(client: httpx.AsyncClient, account: str) -> None:
    url = f"/v1/account/{account}"
    assert (await client.put(url, json={"imap": {"partial": True, "port": 143, "secure": False}})).status_code == 200
    imap = (await client.get(url)).json()["imap"]
    assert (imap["host"], imap["port"], imap["secure"]) == ("imap.example.com", 143, False)
    replaced = {"host": "other.example.com", "port": 993, "auth": {"user": "u", "accessToken": "token"}}
    assert (await client.put(url, json={"imap": replaced})).status_code == 200
    imap = (await client.get(url)).json()["imap"]
    assert imap["auth"] == {"user": "u", "accessToken": "******"}
    assert imap["secure"] is False


async def test_a_change_leaves_the_rest_alone(client: httpx.AsyncClient, account: str) -> None:
    before = (await client.get(f"/v1/account/{account}")).json()
    answer = await client.put(f"/v1/account/{account}", json={"name": "New", "path": "INBOX", "copy": False})
    assert answer.json() == {"account": account}
    after = (await client.get(f"/v1/account/{account}")).json()
    assert after == before | {"name": "New", "path": ["INBOX"], "copy": False}


async def test_either_side_can_be_removed(parts: Parts, client: httpx.AsyncClient, account: str) -> None:
    await client.put(f"/v1/account/{account}", json={"imap": False, "smtp": False})
    shown = (await client.get(f"/v1/account/{account}")).json()
    assert "imap" not in shown and "smtp" not in shown and shown["type"] == "invalid"
    assert (await parts.accounts.get(account)).sealed == {}


@pytest.mark.parametrize(
    ("imap", "keys_of_failures"),
    [
        ({"host": "h", "port": 1}, ["imap.auth"]),
        ({"host": "h", "port": 1, "auth": {"user": "u"}}, ["imap.auth"]),
        ({"host": "h", "port": 1, "auth": {"user": "u", "pass": "p", "accessToken": "t"}}, ["imap.auth"]),
        ({"host": "h", "port": 1, "auth": {"user": "u", "pass": "p"}, "useAuthServer": True}, ["imap"]),
        ({"useAuthServer": True}, ["imap.host", "imap.port"]),
        (
            {"host": "a b", "port": 0, "useAuthServer": 7, "x": 1},
            ["imap.host", "imap.port", "imap.useAuthServer", "imap.x"],
        ),
        ({"host": "h\r\nX: y", "port": 70000, "auth": {"user": "u\0", "pass": "p\n"}}, None),
    ],
)
async def test_all_that_is_wrong_with_a_server_is_listed(
    client: httpx.AsyncClient, account_body: Body, imap: dict[str, Any], keys_of_failures: list[str] | None
) -> None:
    answer = await client.post("/v1/account", json=account_body(imap=imap))
    assert answer.status_code == 400
    body = answer.json()
    assert (body["statusCode"], body["error"], body["message"]) == (400, "Bad Request", "Invalid input")
    found = sorted(one["key"] for one in body["fields"])
    expected = keys_of_failures or ["imap.auth.pass", "imap.auth.user", "imap.host", "imap.port"]
    assert found == sorted(expected)


async def test_smtp_without_a_login_and_imap_with_the_auth_server_are_fine(
    client: httpx.AsyncClient, account_body: Body
) -> None:
    smtp = {"host": "127.0.0.1", "port": 25, "auth": False}
    imap = {"host": "::1", "port": 993, "useAuthServer": True}
    assert (await client.post("/v1/account", json=account_body(imap=imap, smtp=smtp))).status_code == 200
    shown = (await client.get("/v1/account/example")).json()
    assert shown["smtp"]["auth"] is False
    assert shown["imap"]["useAuthServer"] is True and "auth" not in shown["imap"]


async def test_a_last_error_is_shown_until_the_account_is_connected(
    parts: Parts, client: httpx.AsyncClient, account: str
) -> None:
    error = LastError(response="no", server_response_code="AUTHENTICATIONFAILED")
    await parts.redis.hset(keys.account(account), "state", AccountState.AUTHENTICATION_ERROR)
    await parts.redis.hset(keys.account(account), "lastError", error.model_dump_json(by_alias=True))
    shown = (await client.get(f"/v1/account/{account}")).json()
    assert shown["state"] == "authenticationError"
    assert shown["lastError"] == {"response": "no", "serverResponseCode": "AUTHENTICATIONFAILED"}
    await parts.redis.hset(keys.account(account), "state", AccountState.CONNECTED)
    assert (await client.get(f"/v1/account/{account}")).json()["lastError"] is None


async def test_deleting_announces_it_and_leaves_nothing(parts: Parts, client: httpx.AsyncClient, account: str) -> None:
    assert (await client.delete(f"/v1/account/{account}")).json() == {"account": account, "deleted": True}
    message = await parts.bus.js.get_last_msg("EVENTS", f"ee.events.{account}.accountDeleted.{ids.shard_of(account)}")
    assert json.loads(message.data or b"")["event"] == "accountDeleted"
    assert await parts.redis.keys(f"ee:{{{account}}}*") == []
    assert (await client.get(f"/v1/account/{account}")).json()["code"] == "AccountNotFound"


async def test_accounts_are_listed_by_id_in_pages_with_filters(
    parts: Parts, client: httpx.AsyncClient, account_body: Body
) -> None:
    for name in ("b", "a", "c"):
        await client.post("/v1/account", json=account_body(account=name, name=f"Name {name}", webhooks="http://u:p@h/"))
    await parts.redis.hset(keys.account("b"), "state", "connectError")
    page = (await client.get("/v1/accounts", params={"pageSize": 2})).json()
    assert [one["account"] for one in page["accounts"]] == ["a", "b"]
    assert (page["total"], page["pages"], page["page"]) == (3, 2, 0)
    assert page["accounts"][0]["webhooks"] == "http://u:******@h/"
    found = (await client.get("/v1/accounts", params={"state": "connectError"})).json()
    assert [one["account"] for one in found["accounts"]] == ["b"]
    assert (await client.get("/v1/accounts", params={"state": "errors"})).json()["total"] == 1
    assert (await client.get("/v1/accounts", params={"query": "NAME C"})).json()["accounts"][0]["account"] == "c"
    wrong = (await client.get("/v1/accounts", params={"pageSize": 0, "state": "x", "page": -1, "foo": 1})).json()
    assert {one["key"] for one in wrong["fields"]} == {"pageSize", "state", "page", "foo"}


async def test_concurrent_changes_are_all_kept(client: httpx.AsyncClient, account: str) -> None:
    bodies = [{"name": "N"}, {"path": ["A"]}, {"copy": True}, {"smtpEhloName": "ehlo.example.com"}]
    answers = await asyncio.gather(*(client.put(f"/v1/account/{account}", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    shown = (await client.get(f"/v1/account/{account}")).json()
    assert (shown["name"], shown["path"], shown["copy"]) == ("N", ["A"], True)
    assert shown["smtpEhloName"] == "ehlo.example.com"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "?secrets=true"), ("DELETE", "?revoke=true"), ("PUT", "/reconnect?x=1"), ("GET", "/mailboxes?x=1")],
)
async def test_query_arguments_that_are_not_known_are_refused(
    client: httpx.AsyncClient, account: str, method: str, path: str
) -> None:
    answer = await client.request(method, f"/v1/account/{account}{path}")
    assert (answer.status_code, answer.json()["message"]) == (400, "Invalid input")
    assert (await client.get(f"/v1/account/{account}")).status_code == 200
