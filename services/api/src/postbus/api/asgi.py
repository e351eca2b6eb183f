"""What every request passes, as plain ASGI: the path as it was encoded, Basic authentication, counting, tracing.

One small layer instead of several: it is on the way of each of a thousand requests a second.
"""

from __future__ import annotations

import base64
import binascii
import hmac

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postbus.api.errors import error_response
from postbus.common import metrics, telemetry
from postbus.common.config_values import BasicAuth
from postbus.common.service import Parts

log = structlog.get_logger()

MAX_RUNNING = 2000  # requests at once; more are refused before they cost anything
UNKNOWN_ROUTE = "unknown"
CLIENT_LEFT = 499  # for our own count only: nobody is there to hear it

_OPEN_PATHS = frozenset({"/health"})
_CHALLENGE = {"www-authenticate": 'Basic realm="Postbus", charset="UTF-8"'}


class Front:
    """The layer around the application."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._stats = parts.stats
        self._expected = expected_login(parts.config.auth) if parts.config.auth else None
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        scope["path"] = encoded_path(scope)
        answer = _Answer(send)
        headers = dict(scope["headers"])
        with telemetry.span(
            f"{scope['method']} request", parent=_trace_of(headers), **{"http.request.method": scope["method"]}
        ):
            self._running += 1
            try:
                await self._serve(scope, headers, receive, answer)
            finally:
                self._running -= 1
                self._count(scope, answer.status or CLIENT_LEFT)

    async def _serve(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, answer: _Answer) -> None:
        if self._running > MAX_RUNNING:
            await error_response(503, "Too many requests at once", code="Overloaded")(scope, receive, answer)
        elif self._refuses(scope["path"], headers):
            response = error_response(401, "Unauthorized", headers=_CHALLENGE)
            await response(scope, receive, answer)
        else:
            await self._run(scope, receive, answer)

    async def _run(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            log.debug("client left", route=route_of(scope))
        except Exception:
            log.exception("request failed", method=scope["method"], route=route_of(scope))
            if not answer.status:
                response = error_response(500, "An internal server error occurred", code="InternalError")
                await response(scope, receive, answer)

    def _refuses(self, path: str, headers: dict[bytes, bytes]) -> bool:
        """Whether the request lacks the login it needs; takes the same time however wrong it is."""
        if self._expected is None or path in _OPEN_PATHS:
            return False
        return not hmac.compare_digest(login_of(headers.get(b"authorization", b"")), self._expected)

    def _count(self, scope: Scope, status: int) -> None:
        route = route_of(scope)
        metrics.API_CALL.labels(_known_method(scope["method"]), str(status), route).inc()
        if route.startswith("/v1/") or scope["path"].startswith("/v1/"):
            self._stats.add("apiCall:success" if 200 <= status < 400 else "apiCall:fail")


class _Answer:
    """`send`, remembering the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def encoded_path(scope: Scope) -> str:
    """The path with its percent-encoding, so that `%2F` stays within its segment; handlers decode segments."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.decode("latin-1") or scope["path"]


def expected_login(auth: BasicAuth) -> bytes:
    """User and password as `login_of` reads them."""
    return f"{auth.user}:{auth.password.get_secret_value()}".encode()


def login_of(header: bytes) -> bytes:
    """`user:password` of an Authorization header (RFC 7617); empty when it holds none."""
    scheme, _, token = header.partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(token.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def route_of(scope: Scope) -> str:
    """The path of the route that took the request, with its parameters by name."""
    return getattr(scope.get("route"), "path", None) or UNKNOWN_ROUTE


def _known_method(method: str) -> str:
    return method if method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH") else "other"


def _trace_of(headers: dict[bytes, bytes]) -> dict[str, str] | None:
    parent = headers.get(b"traceparent")
    return {"traceparent": parent.decode("latin-1")} if parent else None
