"""The external auth server: one GET per question, its answer read as data of a stranger (contract, section 21).

`GET authServer?account=ID&proto=imap|smtp`, added to the query that is there; userinfo becomes Basic authentication.
The answer is `{user, pass}` or `{user, accessToken}`. Errors name neither the URL nor anything of the answer's body.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

import httpx
import msgspec

from postbus.common import egress
from postbus.common.accounts import Protocol
from postbus.common.credentials import Credentials
from postbus.common.errors import AuthenticationFailed, ConnectFailed
from postbus.common.version import USER_AGENT

CODE = "HTTPRequestError"
TIMEOUT_S = 15.0  # of a question in all; less than a caller waits
MAX_ANSWER_BYTES = 1024 * 1024
MAX_USER_CHARS = 256
MAX_PASSWORD_CHARS = 256
MAX_TOKEN_CHARS = 16_384
MAX_CONNECTIONS = 64
MAX_PORT = 65_535


class _Answer(msgspec.Struct, frozen=True):
    """What is read of an answer; other keys are dropped."""

    user: str
    password: str | None = msgspec.field(name="pass", default=None)
    access_token: str | None = msgspec.field(name="accessToken", default=None)


_DECODER = msgspec.json.Decoder(_Answer)


class GuardedTransport(httpx.AsyncHTTPTransport):
    """Connects to the address that was checked, not to a name that may mean another one by then."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Resolve, refuse what is off limits, and try the addresses in their order."""
        host = request.url.host
        port = request.url.port or {"http": 80}.get(request.url.scheme, 443)
        failure: httpx.ConnectError | None = None
        for address in await _resolve(host, port, request):
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await super().handle_async_request(pinned)
            except httpx.ConnectError as error:
                failure = error
        raise failure or httpx.ConnectError("the name has no address", request=request)


@asynccontextmanager
async def open_client() -> AsyncIterator[httpx.AsyncClient]:
    """The HTTP client: no redirects, no proxy or credentials of the environment, refused addresses refused."""
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
    transport = GuardedTransport(limits=limits, trust_env=False)
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"}
    async with httpx.AsyncClient(
        transport=transport, timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, headers=headers
    ) as client:
        yield client


async def fetch_credentials(client: httpx.AsyncClient, auth_server: str, account: str, proto: Protocol) -> Credentials:
    """Ask for an account's credentials; AuthenticationFailed for any answer that gives none, else ConnectFailed."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            status, body = await _get(client, compose_question(auth_server, account, proto))
    except (TimeoutError, httpx.TimeoutException) as error:
        raise ConnectFailed(f"The authentication server did not answer within {TIMEOUT_S:.0f} s", code=CODE) from error
    except httpx.TransportError as error:
        raise ConnectFailed(f"The authentication server can not be reached: {_words(error)}", code=CODE) from error
    if not 200 <= status < 300:
        raise AuthenticationFailed(f"The authentication server answered with HTTP status {status}", code=CODE)
    return parse_answer(body)


def compose_question(auth_server: str, account: str, proto: Protocol) -> httpx.Request:
    """The request to send; AuthenticationFailed, which does not repeat it, when the setting is no http or https URL."""
    try:
        url = httpx.URL(auth_server).copy_merge_params({"account": account, "proto": proto})
    except (httpx.InvalidURL, UnicodeError):
        raise AuthenticationFailed("The setting authServer is not a URL", code=CODE) from None
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) <= MAX_PORT:
        raise AuthenticationFailed("The setting authServer is not an http or https URL", code=CODE)
    headers = {}
    if url.userinfo:
        user, _, password = url.userinfo.decode("ascii", "replace").partition(":")
        login = f"{unquote(user)}:{unquote(password)}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    return httpx.Request("GET", url.copy_with(userinfo=b""), headers=headers)


def parse_answer(body: bytes) -> Credentials:
    """Read an answer; AuthenticationFailed when it is not exactly a user with a password or an access token."""
    if not body.strip():
        raise AuthenticationFailed("The authentication server sent an empty answer", code=CODE)
    try:
        answer = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _invalid("is not JSON with a user and a password or an access token") from None
    if (answer.password is None) == (answer.access_token is None):
        raise _invalid("has to hold either a password or an access token")
    if not answer.user or len(answer.user) > MAX_USER_CHARS:
        raise _invalid(f"has to hold a user of 1 to {MAX_USER_CHARS} characters")
    if answer.password is not None and len(answer.password) > MAX_PASSWORD_CHARS:
        raise _invalid(f"holds a password of more than {MAX_PASSWORD_CHARS} characters")
    if answer.access_token is not None and not 0 < len(answer.access_token) <= MAX_TOKEN_CHARS:
        raise _invalid(f"has to hold an access token of 1 to {MAX_TOKEN_CHARS} characters")
    return Credentials(answer.user, answer.password, answer.access_token)


async def _get(client: httpx.AsyncClient, request: httpx.Request) -> tuple[int, bytes]:
    """Status and body; AuthenticationFailed for a body that is too large."""
    request.headers = httpx.Headers({**client.headers, **request.headers})
    answer = await client.send(request, stream=True)
    try:
        body = bytearray()
        async for piece in answer.aiter_raw():
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                raise _invalid(f"is larger than {MAX_ANSWER_BYTES} bytes")
        return answer.status_code, bytes(body)
    finally:
        await answer.aclose()


async def _resolve(host: str, port: int, request: httpx.Request) -> list[str]:
    try:
        return await egress.resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(str(error), request=request) from error


def _words(error: httpx.TransportError) -> str:
    cause = error.__cause__
    if isinstance(cause, egress.EgressRefused):
        return str(cause)
    match error:
        case httpx.ConnectError():
            return "no connection"
        case httpx.RemoteProtocolError():
            return "the answer was no HTTP"
        case _:
            return "the connection was lost"


def _invalid(why: str) -> AuthenticationFailed:
    return AuthenticationFailed(f"The answer of the authentication server {why}", code=CODE)
