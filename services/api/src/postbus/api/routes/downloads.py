"""Attachments and the message as it came, streamed (contract, section 9)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from postbus.api.document import errors_of
from postbus.api.downloads import DownloadPlan, DownloadResponse
from postbus.api.requests import AccountId, AttachmentSegment, DeadlineS, MessageSegment, PartsOf
from postbus.api.schemas.system import NoQuery
from postbus.common import commands, ids

router = APIRouter(tags=["Message"])


def _bytes_of(content_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string", "format": "binary"}
    return {200: {"description": description, "content": {content_type: {"schema": schema}}}}


@router.get(
    "/v1/account/{account}/attachment/{attachment}",
    summary="Download an attachment",
    response_class=Response,
    responses=_bytes_of("application/octet-stream", "The decoded content, under its own content type")
    | errors_of(400, 401, 404, 500, 503, 504),
)
async def attachment(
    account: AccountId,
    attachment: AttachmentSegment,
    parts: PartsOf,
    deadline_s: DeadlineS,
    _: Annotated[NoQuery, Query()],
) -> Response:
    """The content of an attachment, decoded."""
    ids.parse_attachment_id(attachment)
    command = commands.GetAttachment(account=account, attachment=attachment)
    return DownloadResponse(parts, DownloadPlan("attachment", command, deadline_s, lambda head: head.filename or ""))


@router.get(
    "/v1/account/{account}/message/{message}/source",
    summary="Download a message",
    response_class=Response,
    responses=_bytes_of("message/rfc822", "The message as it came (RFC 822)") | errors_of(400, 401, 404, 500, 503, 504),
)
async def source(
    account: AccountId,
    message: MessageSegment,
    parts: PartsOf,
    deadline_s: DeadlineS,
    _: Annotated[NoQuery, Query()],
) -> Response:
    """The message as it came, byte for byte."""
    ids.parse_message_id(message)
    command = commands.GetSource(account=account, message=message)
    return DownloadResponse(parts, DownloadPlan("source", command, deadline_s, lambda _head: f"{message}.eml"))
