"""Flushing an account: its index is forgotten and built again (contract, section 1)."""

from __future__ import annotations

import secrets
from typing import Annotated

import orjson
from fastapi import APIRouter, Query
from starlette.responses import Response

from postbus.api.document import errors_of
from postbus.api.owner import ask_owner
from postbus.api.requests import AccountId, DeadlineS, JsonRoute, PartsOf
from postbus.api.schemas.flush import Flushed, FlushInput
from postbus.api.schemas.system import NoQuery
from postbus.common import commands

router = APIRouter(route_class=JsonRoute, tags=["Account"])


@router.put(
    "/v1/account/{account}/flush",
    summary="Flush an account",
    response_model=Flushed,
    responses=errors_of(400, 401, 404, 409, 429, 500, 503, 504),
)
async def flush(
    account: AccountId,
    parts: PartsOf,
    deadline_s: DeadlineS,
    _: Annotated[NoQuery, Query()],
    body: FlushInput | None = None,
) -> Response:
    """Forget what is known of all mailboxes and index them again, in silence; `accountInitialized` tells the end.

    The ids of messages stay valid. What changes meanwhile is told as ever; each mailbox that was indexed before tells
    `mailboxReset`. One account is flushed at a time: 429 until its mailboxes are indexed, or for half a minute.
    """
    wanted = body is not None and body.flush
    await parts.accounts.get(account)
    if body is not None and wanted:
        command = commands.FlushAccount(
            account=account,
            flush_id=secrets.token_hex(8),
            from_now=body.from_now,
            notify_from=body.notify_from,
            imap_indexer=body.imap_indexer,
        )
        await ask_owner(parts, "flush", command, deadline_s=deadline_s)
    return Response(orjson.dumps({"flush": wanted}), media_type="application/json")
