"""Changing single messages: flags, labels, mailbox; and deleting them (contract, section 10)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from postbus.api.document import errors_of
from postbus.api.owner import ask_owner
from postbus.api.requests import AccountId, DeadlineS, JsonRoute, MessageSegment, PartsOf
from postbus.api.schemas.changes import Deleted, DeleteQuery, Moved, MoveInput, Updated, UpdateInput
from postbus.api.schemas.system import NoQuery
from postbus.common import commands, ids

router = APIRouter(route_class=JsonRoute, tags=["Message"])


@router.put(
    "/v1/account/{account}/message/{message}",
    summary="Change a message",
    response_model=Updated,
    responses=errors_of(400, 401, 404, 500, 503, 504),
)
async def update_message(
    account: AccountId,
    message: MessageSegment,
    body: UpdateInput,
    parts: PartsOf,
    deadline_s: DeadlineS,
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Add flags, take them away or replace them; on Gmail labels, too."""
    ids.parse_message_id(message)
    command = commands.UpdateMessage(
        account=account, message=message, flags=change_of(body.flags), labels=change_of(body.labels)
    )
    return _json(await ask_owner(parts, "update-message", command, deadline_s=deadline_s))


@router.put(
    "/v1/account/{account}/message/{message}/move",
    summary="Move a message",
    response_model=Moved,
    responses=errors_of(400, 401, 404, 500, 503, 504),
)
async def move_message(
    account: AccountId,
    message: MessageSegment,
    body: MoveInput,
    parts: PartsOf,
    deadline_s: DeadlineS,
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Move a message to another mailbox of its account. It has another id there."""
    ids.parse_message_id(message)
    command = commands.MoveMessage(account=account, message=message, path=body.path)
    return _json(await ask_owner(parts, "move-message", command, deadline_s=deadline_s))


@router.delete(
    "/v1/account/{account}/message/{message}",
    summary="Delete a message",
    response_model=Deleted,
    responses=errors_of(400, 401, 404, 500, 503, 504),
)
async def delete_message(
    account: AccountId,
    message: MessageSegment,
    query: Annotated[DeleteQuery, Query()],
    parts: PartsOf,
    deadline_s: DeadlineS,
) -> Response:
    """Move a message to Trash. In Trash and Junk, with `force`, and where there is no Trash, delete it for good."""
    ids.parse_message_id(message)
    command = commands.DeleteMessage(account=account, message=message, force=query.force)
    return _json(await ask_owner(parts, "delete-message", command, deadline_s=deadline_s))


def change_of(given: BaseModel | None) -> commands.Change | None:
    """What was given, as a command carries it."""
    return None if given is None else commands.Change.model_validate(given.model_dump(exclude_none=True))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
