"""No input makes a 500: bodies, ids, queries and headers that nobody should send."""

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.api.conftest import ACCOUNT, ScriptedOwner

pytestmark = pytest.mark.anyio

FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON_TYPE = {"content-type": "application/json"}
ROUTES = [
    ("POST", "/v1/account"),
    ("PUT", "/v1/account/example"),
    ("PUT", "/v1/account/example/reconnect"),
    ("POST", "/v1/account/example/submit"),
    ("POST", "/v1/settings"),
]

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.just("******")
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
NAMES = [
    *["account", "name", "email", "path", "imap", "smtp", "auth", "user", "pass", "accessToken", "host", "port", "tls"],
    *["useAuthServer", "partial", "webhooks", "webhooksCustomHeaders", "copy", "notifyFrom", "smtpEhloName", "to"],
    *["from", "cc", "bcc", "address", "subject", "text", "html", "attachments", "content", "contentType", "headers"],
    *["reference", "message", "action", "sendAt", "envelope", "messageId", "replyTo", "key", "value", "webhookEvents"],
    *["resyncDelay", "sentMailPath", "deliveryAttempts", "notifyHeaders", "authServer", "serviceSecret", "reconnect"],
]
bodies = st.dictionaries(
    st.sampled_from(NAMES),
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
        max_leaves=12,
    ),
    max_size=8,
)


def is_fine(answer: httpx.Response) -> bool:
    """An answer in our shape that blames nobody here."""
    body = answer.json()
    return answer.status_code < 500 and (answer.status_code == 200 or body["statusCode"] == answer.status_code)


@given(body=bodies)
@FUZZ
async def test_no_body_of_known_names_makes_a_500(
    client: httpx.AsyncClient, account: str, body: dict[str, Any]
) -> None:
    for method, path in ROUTES:
        answer = await client.request(method, path, content=json.dumps(body), headers=JSON_TYPE)
        assert is_fine(answer), answer.text


@given(body=values)
@FUZZ
async def test_no_other_json_makes_a_500(client: httpx.AsyncClient, account: str, body: Any) -> None:
    for method, path in ROUTES:
        answer = await client.request(method, path, content=json.dumps(body), headers=JSON_TYPE)
        assert is_fine(answer), answer.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 5000,
        b"\xff\xfe",
        b'{"name":"\\ud800"}',
        b'{"\\ud800":1}',
        b'{"name":NaN}',
        b'{"port":1e999}',
        b'{"account":"a","name":"b","notifyFrom":1e300}',
        b'{"account":"a","name":"b","imap":{"port":99999999999999999999999999}}',
        b'{"__proto__":{},"constructor":1}',
        b"null",
        b"0",
    ],
)
async def test_no_bytes_make_a_500(client: httpx.AsyncClient, account: str, content: bytes) -> None:
    for method, path in ROUTES:
        for headers in (JSON_TYPE, {}, {"content-type": "text/plain"}, {"content-type": "application/json; charset=x"}):
            answer = await client.request(method, path, content=content, headers=headers)
            assert is_fine(answer), answer.text


@given(account=st.text(min_size=1, max_size=40), tail=st.text(max_size=40))
@FUZZ
async def test_no_id_makes_a_500(client: httpx.AsyncClient, owner: ScriptedOwner, account: str, tail: str) -> None:
    base = f"/v1/account/{quote(account, safe='')}"
    last = quote(tail, safe="")
    for path in (
        "",
        "/mailboxes",
        f"/messages?path={last}",
        f"/message/{last}",
        f"/text/{last}",
        f"/attachment/{last}",
    ):
        answer = await client.get(base + path)
        assert is_fine(answer), (path, answer.text)


@given(name=st.text(min_size=1, max_size=10), value=st.text(max_size=20))
@FUZZ
async def test_no_query_makes_a_500(client: httpx.AsyncClient, owner: ScriptedOwner, name: str, value: str) -> None:
    for path in ("/v1/accounts", "/v1/stats", "/v1/settings", "/v1/account/example/messages"):
        for query in ({name: value}, {"path": value, "page": value, "state": value, "seconds": value}):
            answer = await client.get(path, params=query)
            assert is_fine(answer), answer.text


@pytest.mark.parametrize("value", ["-1", "7200001", "x", "1.5", "99999999999999999999", "", " 5 ", "\xe4"])
async def test_no_timeout_makes_a_500(client: httpx.AsyncClient, value: str) -> None:
    headers = {"x-ee-timeout": value.encode("latin-1")}
    assert is_fine(await client.get("/v1/accounts", headers=headers))  # type: ignore[arg-type]


async def test_an_odd_account_can_be_read_back(client: httpx.AsyncClient) -> None:
    body = {**ACCOUNT, "name": "Ünï 🙂 \x1b[31m", "account": "\x07\x7f\u202e"}
    assert (await client.post("/v1/account", json=body)).status_code == 200
    answer = await client.get("/v1/account/" + quote("\x07\x7f\u202e", safe=""))
    assert answer.json()["name"] == body["name"]
