"""The log of an account as text (contract, sections 1 and 30)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from postbus.api.document import errors_of
from postbus.api.requests import AccountId, DeadlineS, PartsOf
from postbus.api.schemas.system import NoQuery
from postbus.common.store.account_logs import read_log

router = APIRouter(tags=["Logs"])

EMPTY = "There are no log lines for this account\n"

_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "One JSON object per line", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get(
    "/v1/logs/{account}",
    summary="Read the log of an account",
    response_class=Response,
    responses=_TEXT | errors_of(400, 401, 404, 500, 503),
)
async def read_account_log(
    account: AccountId, parts: PartsOf, deadline_s: DeadlineS, _: Annotated[NoQuery, Query()]
) -> Response:
    """What happened between an account and its mail servers, the oldest line first, each a JSON object.

    Lines are kept while the account has `logs`, or the setting `logs` says so: at most as many as that allows, 4 MB,
    and for 7 days after the last one. They hold commands and answers, but no passwords and no contents of messages. A
    fixed sentence where there are none.
    """
    stored = await parts.accounts.get(account)
    pages = read_log(parts.redis, stored.token)
    first = await anext(pages, None)
    if first is None:
        return PlainTextResponse(EMPTY)
    return StreamingResponse(_text(first, pages), media_type="text/plain")


async def _text(first: Sequence[bytes], pages: AsyncIterator[Sequence[bytes]]) -> AsyncIterator[bytes]:
    """Page by page; the store failing in the middle breaks the answer off."""
    yield b"\n".join(first) + b"\n"
    async for page in pages:
        yield b"\n".join(page) + b"\n"
