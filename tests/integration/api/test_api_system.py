"""Statistics, health, metrics, the docs page and Basic authentication."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from nats.aio.msg import Msg
from pydantic import SecretStr

from postbus.common import ids, metrics
from postbus.common.config import Config
from postbus.common.config_values import BasicAuth
from postbus.common.placement import Placement
from postbus.common.service import Parts
from tests.servers import ValkeyServer

pytestmark = pytest.mark.anyio


async def nothing(*_: Any) -> None:
    """A worker that does not care what it owns."""


@pytest.fixture
async def sync_worker(parts: Parts) -> AsyncIterator[None]:
    """Somebody who signed in as an imap-sync worker."""
    placement = Placement(parts.redis, "imap-sync", "w1", 4, nothing, nothing, nothing)
    await placement._step()
    yield
    await placement.stop()


async def test_health_names_what_is_missing(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health")
    assert answer.status_code == 500
    assert answer.json()["reasons"] == ["no imap-sync worker is running"]


async def test_health_is_fine_with_a_worker_and_warns_of_a_store_that_forgets(
    client: httpx.AsyncClient, sync_worker: None
) -> None:
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert "append-only" in answer.json()["warnings"][0]


async def test_health_tells_of_a_bus_that_is_gone(client: httpx.AsyncClient, parts: Parts, sync_worker: None) -> None:
    await parts.bus.nc.close()
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()["reasons"]) == (500, ["bus: not connected"])


async def test_stats_tell_states_and_counters(parts: Parts, client: httpx.AsyncClient, account: str) -> None:
    await client.get("/v1/account/nobody")
    await parts.stats.flush()
    stats = (await client.get("/v1/stats", params={"seconds": 60})).json()
    assert stats["accounts"] == 1 and stats["connections"] == {"init": 1}
    assert stats["counters"]["apiCall:success"] >= 1 and stats["counters"]["apiCall:fail"] == 1
    assert stats["redisPing"] > 0 and stats["version"] and stats["redisSoftware"]
    assert (await client.get("/v1/stats?seconds=604801")).status_code == 400


async def test_metrics_are_those_of_all_services(parts: Parts, client: httpx.AsyncClient, account: str) -> None:
    async def own(message: Msg) -> None:
        await message.respond(metrics.render_local())

    async def other(message: Msg) -> None:
        await message.respond(b'# TYPE imap_connections gauge\nimap_connections{status="connected"} 7\n')

    await parts.bus.nc.subscribe("ee.ctl.metrics", cb=own)
    await parts.bus.nc.subscribe("ee.ctl.metrics", cb=other)
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'imap_connections{status="connected"} 7' in answer.text
    assert 'api_call{method="POST",statusCode="200",route="/v1/account"}' in answer.text


async def test_the_docs_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    front = await client.get("/")
    assert (front.status_code, front.headers["location"]) == (302, "/docs")
    page = await client.get("/docs")
    assert page.text == (await client.get("/swagger/")).text
    assert "https://" not in page.text and "http://" not in page.text
    for name in ("files/swagger-ui-bundle.js", "files/swagger-ui.css", "start.js"):
        assert f"/docs/{name}" in page.text
        assert (await client.get(f"/docs/{name}")).status_code == 200
    document = (await client.get("/swagger.json")).json()
    assert document == (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")


async def test_unknown_paths_and_methods_are_told_in_our_shape(client: httpx.AsyncClient) -> None:
    for path in ("/nothing", "/v1/account/a/b/c", "/docs/files/..%2Fapp.py", "/v1/account"):
        answer = await client.get(path)
        body = answer.json()
        assert (answer.status_code, body["statusCode"]) in [(404, 404), (405, 405)]
    assert (await client.get("/nothing")).json() == {
        "statusCode": 404,
        "error": "Not Found",
        "message": "Requested page not found",
    }


class TestBasicAuth:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        auth = BasicAuth("user", SecretStr("pa:ss ä"))
        return config.model_copy(update={"auth": auth, "host": "0.0.0.0"})

    async def test_every_route_but_health_asks_for_it(self, client: httpx.AsyncClient) -> None:
        for path in ("/", "/docs", "/swagger.json", "/metrics", "/v1/accounts", "/nothing", "/docs/files/LICENSE"):
            answer = await client.get(path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic ")
            assert answer.json()["error"] == "Unauthorized"
        assert (await client.get("/health")).status_code == 500

    @pytest.mark.parametrize("login", ["user:pa:ss ä", "user:pa:ss", "user2:pa:ss ä", "user", "", ":"])
    async def test_only_the_right_login_is_let_in(self, client: httpx.AsyncClient, login: str) -> None:
        header = "Basic " + base64.b64encode(login.encode()).decode()
        answer = await client.get("/v1/accounts", headers={"authorization": header})
        assert answer.status_code == (200 if login == "user:pa:ss ä" else 401)

    @pytest.mark.parametrize("header", ["Basic", "Basic ???", "Bearer x", "basic dXNlcg"])
    async def test_nonsense_is_refused(self, client: httpx.AsyncClient, header: str) -> None:
        assert (await client.get("/v1/accounts", headers={"authorization": header})).status_code == 401


class TestOpenToAll:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config.model_copy(update={"host": "0.0.0.0"})

    async def test_health_warns_of_an_open_door(self, client: httpx.AsyncClient, sync_worker: None) -> None:
        assert any("EENGINE_AUTH" in warning for warning in (await client.get("/health")).json()["warnings"])


async def test_a_bus_that_is_gone_makes_a_submission_503(client: httpx.AsyncClient, parts: Parts, account: str) -> None:
    await parts.bus.nc.close()
    body = {"to": {"address": "a@b.example"}, "text": "x"}
    answer = await client.post(f"/v1/account/{account}/submit", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "BusUnavailable")
    for path in ("messages?path=INBOX", "attachment/" + str(ids.AttachmentId(ids.MessageId(1, 1), "1"))):
        answer = await client.get(f"/v1/account/{account}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (503, "BusUnavailable")
    assert (await client.delete(f"/v1/account/{account}")).status_code == 503
    assert (await client.get(f"/v1/account/{account}")).status_code == 200


class TestStoreGone:
    @pytest.fixture
    def config(self, config: Config, fresh_valkey: ValkeyServer) -> Config:
        return config.model_copy(update={"redis": fresh_valkey.url})

    async def test_requests_are_503_and_health_says_why(
        self, client: httpx.AsyncClient, fresh_valkey: ValkeyServer
    ) -> None:
        assert (await client.get("/v1/accounts")).status_code == 200
        fresh_valkey.kill()
        for path in ("/v1/accounts", "/v1/account/a", "/v1/settings?webhooks=1", "/v1/stats"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "StoreUnavailable")
        health = await client.get("/health")
        assert health.status_code == 500 and health.json()["reasons"][0].startswith("store")
