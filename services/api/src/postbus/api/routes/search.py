"""Searching a mailbox (contract, section 8)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from postbus.api.document import errors_of
from postbus.api.owner import ask_owner
from postbus.api.requests import AccountId, DeadlineS, JsonRoute, PartsOf
from postbus.api.routes.messages import page_of_cursor
from postbus.api.schemas.messages import MessagePage
from postbus.api.schemas.search import SearchInput, SearchPage, SearchRequest
from postbus.common import commands
from postbus.common.errors import BadInput

router = APIRouter(route_class=JsonRoute, tags=["Message"])


@router.post(
    "/v1/account/{account}/search",
    summary="Search for messages",
    response_model=MessagePage,
    responses=errors_of(400, 401, 404, 422, 500, 503, 504),
)
async def search_messages(
    account: AccountId,
    body: SearchRequest,
    query: Annotated[SearchPage, Query()],
    parts: PartsOf,
    deadline_s: DeadlineS,
) -> Response:
    """One page of what the mail server finds in a mailbox, newest first."""
    if query.path is None:
        raise BadInput(fields=[{"key": "path", "message": '"path" is required'}])
    page = query.page if query.cursor is None else page_of_cursor(query.cursor)
    search = search_query(body.search)
    command = commands.SearchMessages(
        account=account, path=query.path, page=page, page_size=query.page_size, search=search
    )
    return Response(await ask_owner(parts, "search", command, deadline_s=deadline_s), media_type="application/json")


def search_query(given: SearchInput) -> commands.SearchQuery:
    """What was given, as a command carries it."""
    return commands.SearchQuery.model_validate(given.model_dump(by_alias=True, exclude_none=True))
