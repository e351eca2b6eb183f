"""Attachments and sources: streamed from the owner to the client, neither kept nor hurried.

The download is opened by the answer itself, so that a failure before the first byte is an ordinary error answer, and a
client that leaves stops the owner.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import structlog
from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from postbus.api.limits import Budget
from postbus.api.owner import open_owner_download
from postbus.common.bus.download import Download
from postbus.common.commands import Command, DownloadHead
from postbus.common.errors import PostbusError, ProtocolError
from postbus.common.service import Parts

log = structlog.get_logger()

MAX_FILENAME_CHARS = 200

_CONTENT_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}/[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}(?:;[ -~]{0,200})?")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")
_NOT_PLAIN = re.compile(r"[^ !#-$&-\[\]-~]")


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """What to ask the owner for, and how to call the file."""

    operation: str
    command: Command
    deadline_s: float
    name: Callable[[DownloadHead], str]


class DownloadResponse(Response):
    """An answer whose body comes from the owner of the account."""

    def __init__(self, parts: Parts, plan: DownloadPlan) -> None:
        super().__init__()
        self._parts = parts
        self._plan = plan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the end, or until the client leaves; a failure in the middle breaks the connection off."""
        budget: Budget = scope["app"].state.limits.downloads
        with budget.held(1):
            await self._stream(receive, send)

    async def _stream(self, receive: Receive, send: Send) -> None:
        plan = self._plan
        async with open_owner_download(
            self._parts, plan.operation, plan.command, deadline_s=plan.deadline_s
        ) as download:
            try:
                head = DownloadHead.model_validate_json(download.head)
            except ValidationError as error:
                raise ProtocolError("the head of the download is unreadable") from error
            await send(
                {"type": "http.response.start", "status": 200, "headers": download_headers(head, plan.name(head))}
            )
            await _until_left(receive, _pump(download, send))


def download_headers(head: DownloadHead, filename: str) -> list[tuple[bytes, bytes]]:
    """Headers of a download: always an attachment, and never anything a browser would run."""
    content_type = head.content_type if _CONTENT_TYPE.fullmatch(head.content_type) else "application/octet-stream"
    headers = [
        (b"content-type", content_type.encode("ascii")),
        (b"content-disposition", content_disposition(filename).encode("ascii")),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
    ]
    if head.size is not None:
        headers.append((b"content-length", str(head.size).encode()))
    return headers


def content_disposition(filename: str) -> str:
    """`attachment` with a file name: plain where that is enough, and as RFC 5987 says where it is not (RFC 6266, 5)."""
    name = _UNSAFE.sub("_", filename.encode("utf-8", "replace").decode())[:MAX_FILENAME_CHARS]
    if not name:
        return "attachment"
    if not _NOT_PLAIN.search(name):
        return f'attachment; filename="{name}"'
    plain = _NOT_PLAIN.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _pump(download: Download, send: Send) -> None:
    """The bytes, then the end. What fails now can only be told by an answer without an end."""
    try:
        async for chunk in download.chunks():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except PostbusError as error:
        log.warning("download broke off", error=type(error).__name__, reason=error.message)
        return
    await send({"type": "http.response.body", "body": b""})


async def _until_left(receive: Receive, pumping: Coroutine[Any, Any, None]) -> None:
    """Run the pump, and stop it when the client leaves."""
    async with asyncio.TaskGroup() as tasks:
        pump = tasks.create_task(pumping)
        watch = tasks.create_task(_cancel_when_left(receive, pump))
        await asyncio.wait([pump])
        watch.cancel()


async def _cancel_when_left(receive: Receive, pump: asyncio.Task[None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    pump.cancel()
