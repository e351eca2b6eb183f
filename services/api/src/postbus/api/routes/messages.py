"""Mailboxes, listings, messages and texts: the owner's bytes are passed on as they are (contract, sections 6, 7, 9)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from starlette.responses import Response

from postbus.api.document import errors_of
from postbus.api.owner import ask_owner
from postbus.api.requests import AccountId, DeadlineS, MessageSegment, PartsOf, TextSegment
from postbus.api.schemas.messages import (
    MAX_PAGE,
    ListingQuery,
    MailboxesQuery,
    MailboxList,
    Message,
    MessagePage,
    MessageQuery,
    Text,
    TextQuery,
)
from postbus.common import commands, ids
from postbus.common.accounts import MailboxRecord
from postbus.common.errors import BadInput

router = APIRouter(tags=["Message"])
mailboxes = APIRouter(tags=["Mailbox"])

_HIDDEN = {"\\noselect", "\\nonexistent"}
_CURSOR = re.compile(r"imap_([A-Za-z0-9_-]{1,64})")


@mailboxes.get(
    "/v1/account/{account}/mailboxes",
    summary="List mailboxes",
    response_model=MailboxList,
    responses=errors_of(400, 401, 404, 500, 503, 504),
)
async def list_mailboxes(
    account: AccountId, query: Annotated[MailboxesQuery, Query()], parts: PartsOf, deadline_s: DeadlineS
) -> Response:
    """The mailboxes as of the last sync, also while the account is not connected."""
    current = await parts.accounts.get(account)
    entries = [mailbox_view(record) for record in await parts.accounts.mailboxes(current.token) if _is_shown(record)]
    if query.counters:
        answer = await ask_owner(parts, "mailboxes", commands.CountMailboxes(account=account), deadline_s=deadline_s)
        counters = orjson.loads(answer)
        for entry in entries:
            entry["status"] = counters.get(entry["path"], {"error": "The mailbox was not counted"})
    entries.sort(key=lambda entry: (entry["path"] != "INBOX", entry["path"]))
    return _json_bytes(orjson.dumps({"mailboxes": entries}))


@router.get(
    "/v1/account/{account}/messages",
    summary="List messages",
    response_model=MessagePage,
    responses=errors_of(400, 401, 404, 500, 503, 504),
)
async def list_messages(
    account: AccountId, query: Annotated[ListingQuery, Query()], parts: PartsOf, deadline_s: DeadlineS
) -> Response:
    """One page of a mailbox, newest first."""
    page = query.page if query.cursor is None else page_of_cursor(query.cursor)
    command = commands.ListMessages(account=account, path=query.path, page=page, page_size=query.page_size)
    return _json_bytes(await ask_owner(parts, "messages", command, deadline_s=deadline_s))


@router.get(
    "/v1/account/{account}/message/{message}",
    summary="Read a message",
    response_model=Message,
    responses=errors_of(400, 401, 404, 500, 503, 504),
)
async def read_message(
    account: AccountId,
    message: MessageSegment,
    query: Annotated[MessageQuery, Query()],
    parts: PartsOf,
    deadline_s: DeadlineS,
) -> Response:
    """One message with its headers; its text only if `textType` or `webSafeHtml` asks for it."""
    ids.parse_message_id(message)
    command = commands.GetMessage(
        account=account,
        message=message,
        text_type=query.text_type,
        max_bytes=query.max_bytes,
        web_safe_html=query.web_safe_html,
        pre_process_html=query.pre_process_html,
        embed_attached_images=query.embed_attached_images,
        mark_as_seen=query.mark_as_seen,
    )
    return _json_bytes(await ask_owner(parts, "message", command, deadline_s=deadline_s))


@router.get(
    "/v1/account/{account}/text/{text}",
    summary="Read a text",
    response_model=Text,
    responses=errors_of(400, 401, 404, 500, 503, 504),
)
async def read_text(
    account: AccountId,
    text: TextSegment,
    query: Annotated[TextQuery, Query()],
    parts: PartsOf,
    deadline_s: DeadlineS,
) -> Response:
    """The text of a message, by the id that listings and messages tell."""
    ids.parse_text_id(text)
    command = commands.GetText(
        account=account,
        text=text,
        text_type=query.text_type,
        max_bytes=query.max_bytes,
        web_safe_html=query.web_safe_html,
    )
    return _json_bytes(await ask_owner(parts, "text", command, deadline_s=deadline_s))


def page_of_cursor(cursor: str) -> int:
    """The page a cursor means: `imap_` and base64url of `{"page": n}`; BadInput for any other."""
    if not cursor.startswith("imap_"):
        raise BadInput("Invalid cursor type", code="InvalidCursorType")
    match = _CURSOR.fullmatch(cursor)
    try:
        page = orjson.loads(base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4)))["page"] if match else None
    except (binascii.Error, ValueError, TypeError, KeyError):
        page = None
    if not isinstance(page, int) or isinstance(page, bool) or not 0 <= page <= MAX_PAGE:
        raise BadInput("Invalid cursor value", code="InvalidCursorValue")
    return page


def mailbox_view(record: MailboxRecord) -> dict[str, Any]:
    """A mailbox as listings show it."""
    flags = {flag.lower() for flag in record.flags}
    optional = {
        "id": record.mailbox_id,
        "specialUse": record.special_use,
        "specialUseSource": record.special_use_source,
        "noInferiors": True if "\\noinferiors" in flags else None,
    }
    return {
        "path": record.path,
        "delimiter": record.delimiter,
        "parentPath": record.parent_path,
        "name": record.name,
        "listed": record.listed,
        "subscribed": record.subscribed,
        **{name: value for name, value in optional.items() if value is not None},
        "messages": record.messages,
        "uidNext": record.uid_next if record.uid_next is not None else False,
    }


def _is_shown(record: MailboxRecord) -> bool:
    return not _HIDDEN & {flag.lower() for flag in record.flags}


def _json_bytes(body: bytes) -> Response:
    return Response(body, media_type="application/json")
