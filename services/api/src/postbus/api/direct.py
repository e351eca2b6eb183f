"""The short way of the most frequent requests to their handlers: one match, and each part validated once.

FastAPI resolves everything about a request anew each time: 0.5 ms, more than all the rest of a listing costs here. What
is plain and valid needs none of that. Anything else goes FastAPI's way: a header that only it reads, a parameter given
twice, a part that does not validate. So whatever is wrong with a request is answered by FastAPI alone, and what the
handler is given is the same either way.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import orjson
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from postbus.api.errors import FAILURES, failure_response
from postbus.api.requests import LimitedRequest
from postbus.common.service import Parts

_SEGMENT = re.compile(r"\{(\w+)\}")
_ONLY_THERE = (b"x-ee-timeout", b"transfer-encoding")  # headers of requests that go FastAPI's way
_JSON = (b"", b"application/json")
_NOT_JSON = (ValueError, RecursionError)

Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shortcut:
    """One operation: where it is, how its parts are validated, and its handler."""

    route: APIRoute
    method: str
    path: re.Pattern[str]
    segments: Mapping[str, TypeAdapter[str]]
    query: type[BaseModel]
    body: type[BaseModel] | None
    handle: Callable[..., Awaitable[Response]]

    def arguments(self, segments: Mapping[str, str], query_string: bytes) -> Arguments | None:
        """What the handler is given of the path and the query; None where FastAPI has to look at it."""
        pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
        given = dict(pairs)
        if len(given) != len(pairs):
            return None
        try:
            decoded = {name: adapter.validate_python(segments[name]) for name, adapter in self.segments.items()}
            return {**decoded, "query": self.query.model_validate(given)}
        except ValidationError:
            return None

    def parse_body(self, raw: bytes) -> BaseModel | None:
        """The body; None where FastAPI has to look at it."""
        assert self.body is not None
        try:
            return self.body.model_validate(orjson.loads(raw))
        except _NOT_JSON:  # pydantic's errors are ValueErrors
            return None


class Direct:
    """The application, with a short way to some of its routes."""

    def __init__(self, app: FastAPI, parts: Parts, routes: Iterable[APIRoute]) -> None:
        self._app = app
        self._parts = parts
        self._timeout_s = parts.config.command_timeout.total_seconds()
        self._shortcuts = [shortcut_to(route) for route in routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        shortcut, arguments = self._prepare(scope)
        if shortcut is None or arguments is None:
            await self._app(scope, receive, send)
            return
        if shortcut.body is not None:
            await self._serve_body(shortcut, arguments, scope, receive, send)
            return
        await self._serve(shortcut, arguments, scope, receive, send)

    def _prepare(self, scope: Scope) -> tuple[Shortcut | None, Arguments | None]:
        for shortcut in self._shortcuts:
            if scope["method"] == shortcut.method and (match := shortcut.path.fullmatch(scope["path"])):
                return shortcut, _arguments(shortcut, match.groupdict(), scope)
        return None, None

    async def _serve_body(
        self, shortcut: Shortcut, arguments: Arguments, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Read the body first; it counts as held until the answer is there."""
        scope["app"] = self._app
        request = LimitedRequest(scope, receive)
        try:
            try:
                raw = await request.body()
            except FAILURES as error:
                await failure_response(error)(scope, receive, send)
                return
            body = shortcut.parse_body(raw)
            if body is not None:
                await self._serve(shortcut, {**arguments, "body": body}, scope, receive, send)
                return
        finally:
            request.app.state.limits.bodies.give(request.held)
        await self._app(scope, _again(raw, receive), send)

    async def _serve(
        self, shortcut: Shortcut, arguments: Arguments, scope: Scope, receive: Receive, send: Send
    ) -> None:
        scope["route"] = shortcut.route
        try:
            answer = await shortcut.handle(**arguments, parts=self._parts, deadline_s=self._timeout_s)
        except FAILURES as error:
            answer = failure_response(error)
        await answer(scope, receive, send)


def shortcut_to(route: APIRoute) -> Shortcut:
    """The short way to a route, by the parameters of its handler: segments, `query`, maybe `body`, and our own two."""
    hints = get_type_hints(route.endpoint, include_extras=True)
    names = _SEGMENT.findall(route.path)
    query = hints["query"]
    assert get_origin(query) is Annotated and hints.keys() - {*names, "body", "return"} == {
        "query",
        "parts",
        "deadline_s",
    }, f"no short way to {route.path}"
    [method] = sorted(route.methods or ())
    return Shortcut(
        route=route,
        method=method,
        path=re.compile(_SEGMENT.sub(r"(?P<\1>[^/]+)", route.path)),
        segments={name: TypeAdapter(hints[name]) for name in names},
        query=get_args(query)[0],
        body=hints.get("body"),
        handle=route.endpoint,
    )


def _arguments(shortcut: Shortcut, segments: Mapping[str, str], scope: Scope) -> Arguments | None:
    headers = dict(scope["headers"])
    if any(name in headers for name in _ONLY_THERE):
        return None
    if shortcut.body is not None and headers.get(b"content-type", b"").lower() not in _JSON:
        return None
    return shortcut.arguments(segments, scope["query_string"])


def _again(body: bytes, receive: Receive) -> Receive:
    """`receive` of a request whose body was read."""
    read = False

    async def receive_again() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
