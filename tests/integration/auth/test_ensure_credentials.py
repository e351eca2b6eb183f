"""Who needs credentials asks `auth`, then finds them sealed in the store; failures say whose fault it was."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest

from postbus.auth import auth_server as client
from postbus.auth.service import serve
from postbus.common import ids
from postbus.common.accounts import Account, AccountRecord
from postbus.common.config import Config
from postbus.common.credentials import CREDENTIALS_LIFE_S, Credentials, load_credentials
from postbus.common.errors import AuthenticationFailed, ConnectFailed
from postbus.common.events import AccountAdded, AccountInfo, seal_event
from postbus.common.service import Parts, open_parts
from postbus.common.store import keys
from postbus.common.store.accounts import new_generation
from postbus.common.store.client import as_text
from tests.servers import AuthServer, CredentialAnswer, NatsServer

pytestmark = pytest.mark.anyio

KEY_RING = json.dumps({"active": "k1", "k1": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="})
NAME = "Jörg / *"


@pytest.fixture
async def parts(nats_server: NatsServer, redis_url: str, auth_server: AuthServer) -> AsyncIterator[Parts]:
    """A running service, with the auth server as setting."""
    async with AsyncExitStack() as stack:
        config = Config(redis=redis_url, nats=nats_server.url, secret=KEY_RING)
        parts = await open_parts(stack, "auth", config)
        await _set(parts, auth_server.url_with_login("me", "pw"))
        service = asyncio.create_task(serve(parts))
        yield parts
        service.cancel()
        with suppress(asyncio.CancelledError):
            await service


async def test_a_password_is_fetched_and_kept_sealed_for_a_short_while(parts: Parts, auth_server: AuthServer) -> None:
    auth_server.give_password(NAME, "user", "sesame")
    account = await _account(parts)
    assert await load_credentials(parts, account, "imap") == Credentials("user", "sesame")
    key = keys.credentials(account.token, "imap")
    assert "sesame" not in as_text(await parts.redis.get(key))
    assert 0 < await parts.redis.ttl(key) <= CREDENTIALS_LIFE_S
    [question] = auth_server.asked(NAME)
    assert (question.proto, question.authorization) == ("imap", "Basic bWU6cHc=")
    assert question.headers["user-agent"].startswith("postbus/")


async def test_an_access_token_may_differ_by_protocol(parts: Parts, auth_server: AuthServer) -> None:
    auth_server.give_access_token(NAME, "user", "token")
    auth_server.give(NAME, CredentialAnswer({"user": "user", "pass": ""}), proto="smtp")
    account = await _account(parts)
    assert await load_credentials(parts, account, "imap") == Credentials("user", None, "token")
    assert await load_credentials(parts, account, "smtp") == Credentials("user", "")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (CredentialAnswer(status=404), "HTTP status 404"),
        (CredentialAnswer(status=302), "HTTP status 302"),
        (CredentialAnswer(raw_body=""), "empty"),
        (CredentialAnswer(raw_body="<html>sesame"), "is not JSON"),
        (CredentialAnswer({"user": "u", "pass": "p", "accessToken": "t"}), "either"),
        (CredentialAnswer(raw_body=" " * 2_000_000), "larger than"),
    ],
)
async def test_an_answer_without_credentials_is_a_failed_authentication(
    parts: Parts, auth_server: AuthServer, answer: CredentialAnswer, words: str
) -> None:
    auth_server.give(NAME, answer)
    with pytest.raises(AuthenticationFailed, match=words) as caught:
        await load_credentials(parts, await _account(parts), "imap")
    assert caught.value.code == "HTTPRequestError"
    assert "sesame" not in caught.value.message


async def test_a_server_that_is_away_is_a_failed_connection(parts: Parts, auth_server: AuthServer) -> None:
    account = await _account(parts)
    await auth_server.stop()
    with pytest.raises(ConnectFailed, match="no connection") as caught:
        await load_credentials(parts, account, "imap")
    assert "pw" not in caught.value.message


async def test_a_server_that_does_not_answer_is_a_failed_connection(
    parts: Parts, auth_server: AuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT_S", 0.1)
    auth_server.give(NAME, CredentialAnswer(delay_s=1))
    with pytest.raises(ConnectFailed, match="did not answer"):
        await load_credentials(parts, await _account(parts), "imap")


@pytest.mark.parametrize("address", ["169.254.169.254", "[::ffff:169.254.169.254]", "2852039166", "0xa9.254.169.254"])
async def test_a_metadata_address_is_refused_however_it_is_written(parts: Parts, address: str) -> None:
    await _set(parts, f"http://{address}/")
    with pytest.raises(ConnectFailed, match="off limits"):
        await load_credentials(parts, await _account(parts), "imap")


async def test_a_name_with_several_addresses_is_tried_at_each(parts: Parts, auth_server: AuthServer) -> None:
    auth_server.give_password(NAME, "user", "sesame")
    await _set(parts, auth_server.url.replace("127.0.0.1", "localhost"))
    assert await load_credentials(parts, await _account(parts), "imap") == Credentials("user", "sesame")


async def test_without_the_setting_the_error_says_so(parts: Parts) -> None:
    await _set(parts, None)
    with pytest.raises(AuthenticationFailed, match="authServer is not set"):
        await load_credentials(parts, await _account(parts), "imap")


async def test_many_questions_at_once_are_all_answered(parts: Parts, auth_server: AuthServer) -> None:
    auth_server.give_password(NAME, "user", "sesame")
    account = await _account(parts)
    loaded = await asyncio.gather(*(load_credentials(parts, account, "imap") for _ in range(100)))
    assert set(loaded) == {Credentials("user", "sesame")}


async def _set(parts: Parts, auth_server: str | None) -> None:
    await parts.settings_store.write({"authServer": auth_server})
    await parts.settings.load()


async def _account(parts: Parts) -> Account:
    server = {"host": "mail.example.test", "port": 1, "use_auth_server": True}
    record = AccountRecord.model_validate({"account": NAME, "imap": server, "smtp": server})
    generation = new_generation()
    added = seal_event(AccountAdded(account=NAME, data=AccountInfo(account=NAME)), generation)
    await parts.accounts.create(record, {}, added, generation)
    found = await parts.accounts.find(ids.account_token(NAME))
    assert found is not None
    return found
