"""Contract, section 24: settings over HTTP."""

import asyncio

import httpx
import pytest
from nats.aio.msg import Msg

from postbus.common.events import EVENT_NAMES
from postbus.common.service import Parts
from postbus.common.store import keys
from postbus.common.store.client import as_text

pytestmark = pytest.mark.anyio


async def read(client: httpx.AsyncClient, *names: str) -> dict[str, object]:
    body: dict[str, object] = (await client.get("/v1/settings", params=dict.fromkeys(names, "true"))).json()
    return body


async def test_only_what_is_asked_for_is_told_and_unset_is_null(client: httpx.AsyncClient) -> None:
    assert await read(client) == {}
    assert await read(client, "webhooks", "notifyText") == {"webhooks": None, "notifyText": None}
    assert (await read(client, "eventTypes"))["eventTypes"] == list(EVENT_NAMES)
    assert (await client.get("/v1/settings?webhooks=N")).json() == {}


async def test_what_is_written_is_told_back_and_in_use_at_once(parts: Parts, client: httpx.AsyncClient) -> None:
    told: asyncio.Queue[Msg] = asyncio.Queue()
    await parts.bus.nc.subscribe("ee.ctl.settings", cb=told.put)
    body = {
        "webhooks": "http://127.0.0.1:9/hook",
        "webhookEvents": ["messageNew"],
        "notifyText": "Y",
        "notifyTextSize": 0,
    }
    answer = await client.post("/v1/settings", json=body)
    assert sorted(answer.json()["updated"]) == sorted(body)
    assert await read(client, *body) == {**body, "notifyText": True}
    assert parts.settings.current.webhooks == "http://127.0.0.1:9/hook"
    async with asyncio.timeout(5):
        await told.get()
    await client.post("/v1/settings", json={"webhooks": None})
    assert await read(client, "webhooks") == {"webhooks": None}


async def test_secrets_read_true_and_stay_sealed(parts: Parts, client: httpx.AsyncClient) -> None:
    before = parts.settings.current.service_secret
    assert await read(client, "serviceSecret") == {"serviceSecret": True}
    for kept in ("", "******"):
        assert (await client.post("/v1/settings", json={"serviceSecret": kept})).json() == {"updated": []}
    assert parts.settings.current.service_secret == before
    await client.post("/v1/settings", json={"serviceSecret": "a new one"})
    assert parts.settings.current.service_secret == "a new one"
    assert "a new one" not in as_text(await parts.redis.hget(keys.SETTINGS, "serviceSecret"))


async def test_credentials_in_urls_and_headers_are_masked_and_survive_their_mask(
    parts: Parts, client: httpx.AsyncClient
) -> None:
    headers = [{"key": "X-Token", "value": "s3cret"}, {"key": "X-Empty", "value": ""}]
    await client.post("/v1/settings", json={"webhooks": "https://u:pw@h.example/x?y", "webhooksCustomHeaders": headers})
    shown = await read(client, "webhooks", "webhooksCustomHeaders")
    assert shown["webhooks"] == "https://u:******@h.example/x?y"
    assert shown["webhooksCustomHeaders"] == [{"key": "X-Token", "value": "******"}, {"key": "X-Empty", "value": ""}]
    assert (await client.post("/v1/settings", json=shown)).json() == {"updated": ["webhooksCustomHeaders"]}
    assert parts.settings.current.webhooks == "https://u:pw@h.example/x?y"
    assert [header.value for header in parts.settings.current.webhooks_custom_headers or []] == ["s3cret", ""]


async def test_the_password_of_the_submission_server_is_kept_sealed_and_can_be_taken_away(
    parts: Parts, client: httpx.AsyncClient
) -> None:
    await client.post("/v1/settings", json={"smtpServerPassword": "geheim", "smtpServerTLSEnabled": "N"})
    shown = await read(client, "smtpServerPassword", "smtpServerTLSEnabled", "smtpServerPort")
    assert shown == {"smtpServerPassword": True, "smtpServerTLSEnabled": False, "smtpServerPort": None}
    assert "geheim" not in as_text(await parts.redis.hget(keys.SETTINGS, "smtpServerPassword"))
    await client.post("/v1/settings", json={"smtpServerPassword": None})
    assert await read(client, "smtpServerPassword") == {"smtpServerPassword": False}


async def test_all_that_is_wrong_is_listed_and_nothing_is_written(client: httpx.AsyncClient) -> None:
    body = {"webhooks": "ftp://u:pw@x", "notifyTextSize": -1, "imapProxyServerEnabled": True, "notifyText": "maybe"}
    answer = await client.post("/v1/settings", json={**body, "authServer": "http://127.0.0.1/"})
    fields = answer.json()["fields"]
    assert {one["key"] for one in fields} == set(body)
    assert "pw" not in answer.text
    assert await read(client, "authServer") == {"authServer": None}
    assert (await client.get("/v1/settings?httpProxyUrl=true")).json()["fields"][0]["key"] == "httpProxyUrl"
