"""`POST /v1/verifyAccount`: API, imap-sync and sender on the product's bus, in front of real servers and odd ones."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from nats.aio.msg import Msg

from postbus.api.app import create_app, create_server_app
from postbus.cli.supervisor.bus_users import ADMIN, compose_authorization, draw_users
from postbus.common import verifying
from postbus.common.bus import rpc
from postbus.common.bus.streams import migrate_streams
from postbus.common.commands import VerifyLogin, verify_subject
from postbus.common.config import Config
from postbus.common.errors import PostbusError
from postbus.common.service import Parts, open_parts
from postbus.common.verifying import LoginTest, seal_test, serving_tests
from postbus.imap_sync import verifying as imap_verifying
from postbus.sender import verifying as smtp_verifying
from postbus.sender.delivery import Deliverer
from tests.mailserver import MailServer
from tests.servers import NatsServer, free_port
from tests.servers.proxy import ProxyServer

pytestmark = pytest.mark.anyio

KEY_RING = json.dumps({"active": "k1", "k1": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="})
USERS = draw_users()
SIDES = ["imap", "smtp"]


@dataclass
class Stage:
    """What tests work with. `heard` is all that any service said on the bus."""

    http: httpx.AsyncClient
    mail: MailServer
    parts: dict[str, Parts]
    heard: list[bytes]
    timeout_ms: int = 10_000

    def side(self, side: str, **changes: Any) -> dict[str, Any]:
        """One side of the mail server; `auth` False for no login."""
        port = self.mail.info["imap" if side == "imap" else "submission"]
        login = {"user": "verified@example.test", "pass": self.mail.password}
        return {"host": "127.0.0.1", "port": port, "auth": login, "tls": {"rejectUnauthorized": False}, **changes}

    async def verify(self, **body: Any) -> dict[str, Any]:
        answer = await self.http.post("/v1/verifyAccount", json=body, headers={"x-ee-timeout": str(self.timeout_ms)})
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result


@pytest.fixture(scope="module")
def bus() -> Iterator[NatsServer]:
    """A bus with the users of the product, each of which may say and hear no more than there."""
    with NatsServer(compose_authorization(list(USERS.values()))) as running:
        yield running


@pytest.fixture(scope="module")
def routes() -> FastAPI:
    """The routes of the API; building them takes a while."""
    return create_app()


@pytest.fixture
async def stage(bus: NatsServer, redis_url: str, mail: MailServer, routes: FastAPI) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        parts: dict[str, Parts] = {}
        for name in (ADMIN, "api", "imap-sync", "sender"):
            nats = bus.url.replace("nats://", f"nats://{USERS[name].name}:{USERS[name].password}@")
            config = Config(nats=nats, redis=redis_url, secret=KEY_RING, port=0)
            parts[name] = await open_parts(stack, name, config)
        await migrate_streams(parts[ADMIN].bus)
        heard: list[bytes] = []

        async def hear(message: Msg) -> None:
            heard.append(message.data)

        await parts[ADMIN].bus.nc.subscribe(">", cb=hear)
        imap = imap_verifying.LoginTester(parts["imap-sync"])
        smtp = smtp_verifying.LoginTester(Deliverer(parts["sender"]))
        await stack.enter_async_context(serving_tests(parts["imap-sync"], "imap", imap.attempt))
        await stack.enter_async_context(serving_tests(parts["sender"], "smtp", smtp.attempt))
        for one in parts.values():
            await one.bus.nc.flush()
        transport = httpx.ASGITransport(app=create_server_app(parts["api"], routes))
        http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://api.test"))
        yield Stage(http, mail, parts, heard)


async def test_logins_that_work_are_told_with_the_mailboxes_and_nothing_is_stored(stage: Stage) -> None:
    answer = await stage.verify(mailboxes=True, imap=stage.side("imap"), smtp=stage.side("smtp"))
    assert (answer["imap"], answer["smtp"]) == ({"success": True}, {"success": True})
    inbox = answer["mailboxes"][0]
    assert (inbox["path"], inbox["name"], inbox["specialUse"]) == ("INBOX", "INBOX", "\\Inbox")
    assert "\\Sent" in [mailbox.get("specialUse") for mailbox in answer["mailboxes"]]
    assert not {"messages", "uidNext"} & inbox.keys()
    assert (await stage.http.get("/v1/accounts")).json()["total"] == 0


async def test_only_what_is_asked_for_is_tried(stage: Stage) -> None:
    assert await stage.verify(smtp=stage.side("smtp"), imap=False) == {"smtp": {"success": True}}
    assert await stage.verify(imap=stage.side("imap")) == {"imap": {"success": True}}
    assert (await stage.http.post("/v1/verifyAccount")).json() == {}


async def test_no_password_ever_travels_on_the_bus_in_the_clear(stage: Stage) -> None:
    login = {"user": "geheimnis-user@example.test", "pass": "geheimnis"}
    async with ProxyServer(login="anna:geheimnis-too") as proxy:
        sides = {side: stage.side(side, auth=login) for side in SIDES}
        answer = await stage.verify(proxy=proxy.url("socks5", "anna:geheimnis-too"), **sides)
    assert len(proxy.asked) == 2 and not answer["imap"]["success"]
    said = b"\n".join(stage.heard)
    assert b'"sealed":"v1:k1:' in said
    assert b"geheimnis" not in said and b"anna" not in said
    assert b"127.0.0.1" not in said.replace(b"client", b"")  # the server is sealed, too: no other gets the password


async def test_what_is_sealed_for_one_request_opens_for_no_other_and_for_no_other_service(stage: Stage) -> None:
    secrets = stage.parts["api"].secrets
    server = {"host": "127.0.0.1", "port": 1, "user": "u"}
    command = seal_test(secrets, "imap", LoginTest.model_validate({"imap": server, "password": "geheim"}))
    assert "geheim" not in repr(LoginTest.model_validate({"imap": server, "password": "geheim"}))
    for proto, request in (("imap", VerifyLogin(id="0" * 32, sealed=command.sealed)), ("smtp", command)):
        with pytest.raises(PostbusError, match="sealed for another"):
            await rpc.call(stage.parts["api"].bus, verify_subject(proto), request, deadline_s=5)  # type: ignore[arg-type]


async def test_a_wrong_password_is_told_in_the_servers_words(stage: Stage) -> None:
    login = {"user": "verified@example.test", "pass": "wrong"}
    answer = await stage.verify(imap=stage.side("imap", auth=login), smtp=stage.side("smtp", auth=login))
    imap, smtp = answer["imap"], answer["smtp"]
    assert (imap["success"], imap["code"]) == (False, "AUTHENTICATIONFAILED")
    assert imap["responseText"] and imap["error"]
    assert (smtp["success"], smtp["code"], smtp["statusCode"]) == (False, "EAUTH", 535)
    assert smtp["responseText"].startswith("535 ")


@pytest.mark.parametrize("side", SIDES)
async def test_each_kind_of_failure_has_its_code(stage: Stage, side: str) -> None:
    plain = stage.mail.info["imap" if side == "imap" else "submission"]
    secured = stage.mail.info["imaps" if side == "imap" else "submissions"]
    failures: dict[str, dict[str, Any]] = {
        "ECONNREFUSED": {"port": free_port()},
        "ENOTFOUND": {"host": "mail.invalid"},
        "ETLS": {"port": secured, "secure": True, "tls": {}},
        "EACCES": {"host": "169.254.169.254"},
        "EPROXY": {},
    }
    for code, changes in failures.items():
        proxy = {"proxy": f"http://anna:s3cret@127.0.0.1:{free_port()}"} if code == "EPROXY" else {}
        answer = (await stage.verify(**{side: stage.side(side, **changes)}, **proxy))[side]
        assert (answer["success"], answer["code"]) == (False, code), answer
        assert answer["error"] and "s3cret" not in str(answer)
    for changes in ({"port": plain, "secure": True}, {"tls": {}}):  # no TLS there, and STARTTLS without our trust
        assert (await stage.verify(**{side: stage.side(side, **changes)}))[side]["code"] == "ETLS"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("proxied", [False, True])
async def test_a_host_that_hangs_is_an_answer_and_comes_in_time(stage: Stage, side: str, proxied: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes connections, says nothing
        port = deaf.getsockname()[1]
        changes = {} if proxied else {"port": port}
        proxy = {"proxy": f"socks5://127.0.0.1:{port}"} if proxied else {}
        stage.timeout_ms = 1_000
        async with asyncio.timeout(3.0):
            answer = (await stage.verify(**{side: stage.side(side, **changes)}, **proxy))[side]
    assert answer["code"] == ("EPROXY" if proxied else "ETIMEDOUT")
    assert (f"127.0.0.1:{port}" in answer["error"]) is proxied


async def test_a_login_goes_through_the_proxy_that_is_named_else_through_the_global_one(stage: Stage) -> None:
    hosts = {"imap.mail.test": "127.0.0.1", "smtp.mail.test": "127.0.0.1"}
    sides = {side: stage.side(side, host=f"{side}.mail.test") for side in SIDES}
    login = "anna:" + quote("s3cret")
    async with ProxyServer(hosts=hosts, login="anna:s3cret") as named, ProxyServer(hosts=hosts) as common:
        answer = await stage.verify(proxy=named.url("socks5", login), **sides)
        assert (answer["imap"], answer["smtp"]) == ({"success": True}, {"success": True})
        assert (len(named.asked), len(common.asked)) == (2, 0)
        wrong = await stage.verify(proxy=named.url("http", "anna:wrong"), **sides)
        assert {wrong[side]["code"] for side in SIDES} == {"EPROXYAUTH"}
        await stage.parts[ADMIN].settings_store.write({"proxyEnabled": True, "proxyUrl": common.url("http")})
        for one in stage.parts.values():
            await one.settings.load()
        answer = await stage.verify(**sides)
        assert (answer["imap"], answer["smtp"], len(common.asked)) == ({"success": True}, {"success": True}, 2)


async def test_credentials_of_the_authentication_server_need_an_account(stage: Stage) -> None:
    answer = await stage.verify(imap={**stage.side("imap"), "auth": False, "useAuthServer": True})
    assert (answer["imap"]["success"], answer["imap"]["code"]) == (False, "ENOAUTH")


async def test_a_login_without_auth_is_tried_as_it_is(stage: Stage) -> None:
    assert (await stage.verify(smtp=stage.side("smtp", auth=False)))["smtp"] == {"success": True}


async def test_what_can_not_be_tried_is_refused_with_its_place(stage: Stage) -> None:
    refused: dict[str, dict[str, Any]] = {
        "imap.port": {"imap": {"host": "h", "auth": {"user": "u", "pass": "p"}}},
        "imap.auth": {"imap": {"host": "h", "port": 1}},
        "imap.auth.pass": {"imap": {"host": "h", "port": 1, "auth": {"user": "u", "pass": "******"}}},
        "smtp.auth": {"smtp": {"host": "h", "port": 1, "auth": {"user": "u"}}},
        "proxy": {"proxy": "socks5://u:******@h"},
        "smtpEhloName": {"smtpEhloName": "a b"},
        "account": {"account": "a"},
    }
    for key, body in refused.items():
        answer = await stage.http.post("/v1/verifyAccount", json=body)
        assert (answer.status_code, [one["key"] for one in answer.json()["fields"]]) == (400, [key])


async def test_too_many_at_once_are_refused_and_not_queued(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "MAX_AT_ONCE", 0)
    answer = await stage.http.post("/v1/verifyAccount", json={"imap": stage.side("imap")})
    assert (answer.status_code, answer.json()["code"]) == (503, "TooManyVerifications")
