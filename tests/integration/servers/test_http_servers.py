"""The webhook receiver and the credential server that run inside the test process."""

import asyncio

import aiohttp
import pytest

from tests.servers import Answer, AuthServer, CredentialAnswer, WebhookSink

pytestmark = pytest.mark.anyio


async def _post(url: str, body: str, **headers: str) -> int:
    async with aiohttp.ClientSession() as session, session.post(url, data=body.encode(), headers=headers) as answer:
        return answer.status


async def test_the_sink_keeps_headers_and_body_exactly_as_sent(webhook_sink: WebhookSink) -> None:
    body = '{"b": 1,\r\n "a":"\u2028ü"}'
    await _post(f"{webhook_sink.url}?x=1", body, **{"X-EE-Wh-Id": "1"})
    [request] = webhook_sink.requests
    assert (request.method, request.path, request.body) == ("POST", "/hook?x=1", body)
    assert ("X-EE-Wh-Id", "1") in request.header_list
    assert request.headers["x-ee-wh-id"] == "1"
    assert request.delivery["body"] == body


async def test_the_sink_answers_queued_answers_first_then_its_script_then_the_default(
    webhook_sink: WebhookSink,
) -> None:
    webhook_sink.script = lambda request: Answer(410) if request.body == "gone" else None
    webhook_sink.default = Answer(202)
    webhook_sink.answer_next(Answer(500), Answer(503))
    statuses = [await _post(webhook_sink.url, body) for body in ("gone", "a", "gone", "b")]
    assert statuses == [500, 503, 410, 202]


async def test_the_sink_cuts_the_connection_when_told_to(webhook_sink: WebhookSink) -> None:
    webhook_sink.answer_next(Answer(close=True))
    with pytest.raises(aiohttp.ClientError):
        await _post(webhook_sink.url, "{}")
    assert len(webhook_sink.requests) == 1


async def test_waiting_ends_when_the_condition_holds_even_before_a_slow_answer(webhook_sink: WebhookSink) -> None:
    webhook_sink.default = Answer(delay_s=60)
    task = asyncio.create_task(_post(webhook_sink.url, "{}"))
    [request] = await webhook_sink.wait(lambda requests: any(r.body == "{}" for r in requests), timeout=10)
    assert request.json == {}
    task.cancel()


async def test_waiting_in_vain_says_what_came_in(webhook_sink: WebhookSink) -> None:
    await _post(webhook_sink.url, "something else")
    with pytest.raises(AssertionError, match="something else"):
        await webhook_sink.wait_count(2, timeout=0.01)


async def test_a_stopped_sink_refuses_connections_and_comes_back_on_the_same_port(webhook_sink: WebhookSink) -> None:
    await webhook_sink.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await _post(webhook_sink.url, "{}")
    await webhook_sink.start()
    assert await _post(webhook_sink.url, "{}") == 200


async def test_the_credential_server_answers_by_account_and_protocol(auth_server: AuthServer) -> None:
    auth_server.give_password("a", "user", "secret")
    auth_server.give("a", CredentialAnswer({"user": "user", "accessToken": "t"}), proto="smtp")
    auth_server.give("b", CredentialAnswer(status=500, raw_body="<html>"))
    login = {"Authorization": aiohttp.encode_basic_auth("me", "pw")}
    async with aiohttp.ClientSession(headers=login) as session:

        async def ask(account: str, proto: str) -> tuple[int, str]:
            async with session.get(auth_server.url, params={"account": account, "proto": proto}) as answer:
                return answer.status, await answer.text()

        assert await ask("a", "imap") == (200, '{"user": "user", "pass": "secret"}')
        assert await ask("a", "smtp") == (200, '{"user": "user", "accessToken": "t"}')
        assert await ask("b", "imap") == (500, "<html>")
        assert (await ask("c", "imap"))[0] == 404
    assert [request.proto for request in auth_server.asked("a")] == ["imap", "smtp"]
    assert auth_server.requests[0].authorization == "Basic bWU6cHc="
    assert auth_server.url_with_login("me", "pw").startswith("http://me:pw@127.0.0.1:")
