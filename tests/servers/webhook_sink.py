"""A receiver of webhooks: keeps what came in, octet for octet, and answers as a test tells it to."""

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.servers.http_server import RecordingHttpServer


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request is answered: after `delay_s`, or not at all (`close`: the connection is cut)."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    close: bool = False


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request as it came in; header names in the order and case of the wire."""

    method: str
    path: str  # with the query
    header_list: tuple[tuple[str, str], ...]
    body: str  # text of the body exactly as sent
    at: float  # event loop time

    @property
    def headers(self) -> dict[str, str]:
        """Headers by lower-case name."""
        return {name.lower(): value for name, value in self.header_list}

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def delivery(self) -> dict[str, Any]:
        """The request as the contract's webhook checker takes it."""
        return {"headers": dict(self.header_list), "body": self.body}


Script = Callable[[ReceivedRequest], Answer | None]


class WebhookSink(RecordingHttpServer[ReceivedRequest]):
    """Records each request when its body is complete, then answers it.

    Which answer: the next one given to `answer_next`, else what the `script` returns for this request, else `default`.
    """

    def __init__(self, *, default: Answer | None = None, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.default = default or Answer()
        self.script: Script | None = None
        self._next: deque[Answer] = deque()

    @property
    def url(self) -> str:
        """A URL to deliver to; any other path of this server works as well."""
        return f"{self.base_url}/hook"

    def answer_next(self, *answers: Answer) -> None:
        """Queue answers for the next requests, in their order."""
        self._next.extend(answers)

    def events(self) -> list[dict[str, Any]]:
        """Parsed bodies of all requests so far."""
        return [request.json for request in self.requests]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Record one request and answer it."""
        received = await _received(request)
        answer = self._answer_for(received)
        await self.record(received)
        await asyncio.sleep(answer.delay_s)
        if answer.close and request.transport is not None:
            request.transport.abort()
        return web.Response(status=answer.status, text=answer.body, headers=answer.headers)

    def _answer_for(self, received: ReceivedRequest) -> Answer:
        if self._next:
            return self._next.popleft()
        return (self.script(received) if self.script else None) or self.default


async def _received(request: web.Request) -> ReceivedRequest:
    raw = await request.read()
    return ReceivedRequest(
        method=request.method,
        path=request.path_qs,
        header_list=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers),
        body=raw.decode(),
        at=asyncio.get_running_loop().time(),
    )
