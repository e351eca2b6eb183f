"""One attempt to deliver one event: find the target, post, judge the answer, count and log it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from weakref import WeakValueDictionary

import aiohttp
import structlog

from postbus.common import metrics, telemetry
from postbus.common.egress import EgressRefused, guarded_socket
from postbus.common.store.stats import Stats
from postbus.webhooks.compose import Address, compose_body, compose_headers, is_object, parse_target
from postbus.webhooks.event_log import LoggedEvent
from postbus.webhooks.targets import Target, Targets

log = structlog.get_logger()

CONNECTIONS_PER_RECEIVER = 64
KEEPALIVE_S = 4.0  # below the 5 s after which Node's servers, the shortest common ones, hang up
MAX_ANSWER_BYTES = 64 * 1024  # an answer is read to keep the connection; what goes on longer is cut off
MAX_REASON_CHARS = 300


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver took it."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nobody wants it: no target, the filter, or the account is gone."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It was not taken; `reason` is fit for people and holds no secret."""

    reason: str


Outcome = Delivered | Skipped | Failed


class Delivery:
    """What all lanes of a worker share. One receiver never gets more than a fixed number of requests at a time."""

    def __init__(self, session: aiohttp.ClientSession, targets: Targets, stats: Stats) -> None:
        self._session = session
        self._targets = targets
        self._stats = stats
        self._gates: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def attempt(self, event: LoggedEvent, attempts_made: int) -> Outcome:
        """Try to deliver; never raises for anything the receiver or the network does."""
        target = await self._targets.find(event.token, event.event)
        if target is None:
            return Skipped()
        if not is_object(event.body):
            log.error("no event, not delivered", account=event.token, event_id=event.event_id)
            return Skipped()
        with telemetry.span("webhook", parent=event.headers, account=event.token, event=event.event):
            try:
                address = parse_target(target.url)
            except ValueError as error:
                return self._failed(event, attempts_made, str(error), "")
            async with self._gate(address.origin):
                started = time.monotonic()
                reason = await self._post(event, target, address, attempts_made)
                metrics.WEBHOOK_REQ.observe((time.monotonic() - started) * 1000)
            if reason is not None:
                return self._failed(event, attempts_made, reason, address.origin)
            self._count(event, "success")
            return Delivered()

    def _gate(self, origin: str) -> asyncio.Semaphore:
        gate = self._gates.get(origin)
        if gate is None:
            gate = self._gates[origin] = asyncio.Semaphore(CONNECTIONS_PER_RECEIVER)
        return gate

    async def _post(self, event: LoggedEvent, target: Target, address: Address, attempts_made: int) -> str | None:
        """Why it failed, or None."""
        try:
            body = compose_body(event.body, target.service_url)
            headers = compose_headers(event, target, body, attempt=attempts_made, now=time.time())
            request = self._session.post(
                address.url, data=body, headers=headers | telemetry.inject(), allow_redirects=False
            )
            async with request as answer:
                await _drain(answer)
                return None if 200 <= answer.status < 300 else _refusal(answer)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return describe(error)[:MAX_REASON_CHARS]

    def _failed(self, event: LoggedEvent, attempts_made: int, reason: str, origin: str) -> Failed:
        self._count(event, "fail")
        log.warning(
            "webhook failed",
            account=event.token,
            event_name=event.event,
            event_id=event.event_id,
            attempt=attempts_made + 1,
            receiver=origin,
            reason=reason,
        )
        return Failed(reason)

    def _count(self, event: LoggedEvent, status: str) -> None:
        metrics.WEBHOOKS.labels(status, event.event).inc()
        self._stats.add(f"webhooks:{status}")


@asynccontextmanager
async def open_session(timeout: timedelta) -> AsyncIterator[aiohttp.ClientSession]:
    """The HTTP client: kept connections, no cookies, no proxy of the environment, refused addresses refused."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S, socket_factory=guarded_socket)
    limits = aiohttp.ClientTimeout(total=timeout.total_seconds())
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=limits,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding"),
    ) as session:
        yield session


def describe(error: Exception) -> str:
    """An error in words that never repeat the target or a header."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, EgressRefused):
            return str(error.os_error)
        case aiohttp.ClientConnectorCertificateError():
            return "the receiver's certificate is not trusted"
        case aiohttp.ClientConnectorError():
            return f"no connection: {error.os_error.strerror or type(error.os_error).__name__}"
        case aiohttp.ServerDisconnectedError():
            return "the receiver closed the connection"
        case aiohttp.ClientError() | OSError():
            return f"no answer: {type(error).__name__}"
        case _:
            return "the headers can't be sent"


def _refusal(answer: aiohttp.ClientResponse) -> str:
    moved = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
    return f"HTTP {answer.status}{moved}"


async def _drain(answer: aiohttp.ClientResponse) -> None:
    """Read what came, so that the connection can be used again; hang up on an answer that does not end."""
    size = 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            answer.close()
            return
