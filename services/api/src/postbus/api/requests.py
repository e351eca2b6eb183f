"""Reading requests: bodies up to a limit and within a time, JSON strictly, path segments as they were encoded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

import orjson
from fastapi import Depends, Header, Path, Request, Response
from fastapi.routing import APIRoute
from pydantic import BeforeValidator, StringConstraints
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException

from postbus.api.limits import Budget
from postbus.common.errors import TooLarge
from postbus.common.service import Parts

MAX_JSON_BYTES = 1024**2
BODY_TIMEOUT_S = 300.0
MAX_TIMEOUT_MS = 7_200_000


def decode_segment(value: Any) -> Any:
    """A path segment as it was meant: percent-decoded, strictly UTF-8. The router sees segments still encoded."""
    if not isinstance(value, str):
        return value
    try:
        return unquote_to_bytes(value.encode("latin-1", "strict")).decode("utf-8")
    except UnicodeError as error:
        raise PydanticCustomError("utf8", "must be percent-encoded UTF-8") from error


async def get_parts(request: Request) -> Parts:
    """What the handlers work with."""
    parts: Parts = request.app.state.parts
    return parts


async def get_deadline_s(
    request: Request,
    x_ee_timeout: Annotated[
        int | None,
        Header(ge=0, le=MAX_TIMEOUT_MS, description="How long this request may wait for a mail server, ms; 0: default"),
    ] = None,
) -> float:
    """Seconds a command may take: what the request says, else the configuration."""
    if x_ee_timeout:
        return x_ee_timeout / 1000
    timeout: float = request.app.state.parts.config.command_timeout.total_seconds()
    return timeout


PartsOf = Annotated[Parts, Depends(get_parts)]
DeadlineS = Annotated[float, Depends(get_deadline_s)]
AccountId = Annotated[
    str,
    Path(description="Id of the account; `/` in it as `%2F`", examples=["example"]),
    BeforeValidator(decode_segment),
    StringConstraints(strip_whitespace=True, min_length=1, max_length=256),
]


MessageSegment = Annotated[
    str,
    Path(description="Id of the message", examples=["AAAAAQAAAeE"]),
    BeforeValidator(decode_segment),
    StringConstraints(min_length=1, max_length=256),
]
TextSegment = Annotated[
    str,
    Path(description="Id of the text", examples=["AAAAAQAAAeGTkaExkaEykA"]),
    BeforeValidator(decode_segment),
    StringConstraints(min_length=1, max_length=10_240),
]
AttachmentSegment = Annotated[
    str,
    Path(description="Id of the attachment", examples=["AAAAAQAAAeEy"]),
    BeforeValidator(decode_segment),
    StringConstraints(min_length=1, max_length=2048),
]


class LimitedRequest(Request):
    """A request whose body is read up to a limit, and whose JSON is taken strictly (no NaN, no lone surrogates)."""

    max_bytes = MAX_JSON_BYTES
    held = 0  # bytes taken from the budget of all bodies

    async def body(self) -> bytes:
        """The body; TooLarge over the limit, before it is read where its length is told."""
        if not hasattr(self, "_body"):
            length = self.headers.get("content-length", "")
            if length.isdecimal() and int(length[:20]) > self.max_bytes:
                raise self._too_large()
            self._body = await self._read()
        return self._body

    async def json(self) -> Any:
        """The body as JSON; json.JSONDecodeError when it is none."""
        return orjson.loads(await self.body())

    async def _read(self) -> bytes:
        budget: Budget = self.app.state.limits.bodies
        chunks = []
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for chunk in self.stream():
                    if self.held + len(chunk) > self.max_bytes:
                        raise self._too_large()
                    budget.take(len(chunk))
                    self.held += len(chunk)
                    chunks.append(chunk)
        except TimeoutError as error:
            raise HTTPException(408, "The request took too long to arrive") from error
        return b"".join(chunks)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"Payload content length greater than maximum allowed: {self.max_bytes}")


class JsonRoute(APIRoute):
    """A route whose body is at most 1 MiB of JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read the body before FastAPI does: it would turn our errors into its own."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def read_and_handle(request: Request) -> Response:
            limited = LimitedRequest(request.scope, request.receive)
            limited.max_bytes = self.max_bytes(request)
            try:
                await limited.body()
                return await handle(limited)
            finally:
                limited.app.state.limits.bodies.give(limited.held)

        return read_and_handle

    def max_bytes(self, request: Request) -> int:
        """The limit of the body."""
        return MAX_JSON_BYTES


class MessageRoute(JsonRoute):
    """A route that takes whole messages."""

    def max_bytes(self, request: Request) -> int:
        """The limit of the body: that of the configuration."""
        limit: int = request.app.state.parts.config.max_body_size
        return limit
