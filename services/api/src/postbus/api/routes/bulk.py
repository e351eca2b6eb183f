"""Changing, moving and deleting all messages that a search finds (contract, section 10)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from postbus.api.document import errors_of
from postbus.api.owner import ask_owner
from postbus.api.requests import AccountId, DeadlineS, JsonRoute, PartsOf
from postbus.api.routes.changes import change_of
from postbus.api.routes.search import search_query
from postbus.api.schemas.bulk import (
    BulkDeleted,
    BulkDeleteInput,
    BulkDeleteQuery,
    BulkMoved,
    BulkMoveInput,
    BulkQuery,
    BulkUpdated,
    BulkUpdateInput,
)
from postbus.common import commands

router = APIRouter(route_class=JsonRoute, tags=["Multi Message Actions"])


@router.put(
    "/v1/account/{account}/messages",
    summary="Change messages",
    response_model=BulkUpdated,
    responses=errors_of(400, 401, 404, 422, 500, 503, 504),
)
async def update_messages(
    account: AccountId,
    body: BulkUpdateInput,
    query: Annotated[BulkQuery, Query()],
    parts: PartsOf,
    deadline_s: DeadlineS,
) -> Response:
    """Change flags, on Gmail labels, too, of all messages that the search finds in a mailbox."""
    command = commands.UpdateMessages(
        account=account,
        path=query.path,
        search=search_query(body.search),
        flags=change_of(body.update.flags) if body.update else None,
        labels=change_of(body.update.labels) if body.update else None,
    )
    return _json(await ask_owner(parts, "update-messages", command, deadline_s=deadline_s))


@router.put(
    "/v1/account/{account}/messages/move",
    summary="Move messages",
    response_model=BulkMoved,
    responses=errors_of(400, 401, 404, 422, 500, 503, 504),
)
async def move_messages(
    account: AccountId,
    body: BulkMoveInput,
    query: Annotated[BulkQuery, Query()],
    parts: PartsOf,
    deadline_s: DeadlineS,
) -> Response:
    """Move all messages that the search finds in a mailbox. They have other ids there."""
    command = commands.MoveMessages(
        account=account, path=query.path, search=search_query(body.search), target=body.path
    )
    return _json(await ask_owner(parts, "move-messages", command, deadline_s=deadline_s))


@router.put(
    "/v1/account/{account}/messages/delete",
    summary="Delete messages",
    response_model=BulkDeleted,
    responses=errors_of(400, 401, 404, 422, 500, 503, 504),
)
async def delete_messages(
    account: AccountId,
    body: BulkDeleteInput,
    query: Annotated[BulkDeleteQuery, Query()],
    parts: PartsOf,
    deadline_s: DeadlineS,
) -> Response:
    """Move all messages that the search finds to Trash; in Trash and Junk, and with `force`, delete them for good."""
    command = commands.DeleteMessages(
        account=account, path=query.path, search=search_query(body.search), force=query.force
    )
    return _json(await ask_owner(parts, "delete-messages", command, deadline_s=deadline_s))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
