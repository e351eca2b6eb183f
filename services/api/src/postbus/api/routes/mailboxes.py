"""Creating, renaming, subscribing and deleting mailboxes (contract, section 6)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from postbus.api.document import errors_of
from postbus.api.owner import ask_owner
from postbus.api.requests import AccountId, DeadlineS, JsonRoute, PartsOf
from postbus.api.schemas.mailboxes import (
    ChangeMailboxInput,
    CreateMailboxInput,
    DeleteMailboxQuery,
    MailboxChanged,
    MailboxCreated,
    MailboxDeleted,
)
from postbus.api.schemas.system import NoQuery
from postbus.common import commands
from postbus.common.service import Parts

router = APIRouter(route_class=JsonRoute, tags=["Mailbox"])

_URL = "/v1/account/{account}/mailbox"
_RESPONSES = errors_of(400, 401, 404, 500, 503, 504)


@router.post(_URL, summary="Create a mailbox", response_model=MailboxCreated, responses=_RESPONSES)
async def create_mailbox(
    account: AccountId,
    body: CreateMailboxInput,
    parts: PartsOf,
    deadline_s: DeadlineS,
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Create a mailbox and subscribe to it. The prefix that some servers want is added to its path."""
    command = commands.CreateMailbox(account=account, path=body.path)
    return await _ask(parts, "create-mailbox", command, deadline_s)


@router.put(_URL, summary="Rename or subscribe a mailbox", response_model=MailboxChanged, responses=_RESPONSES)
async def change_mailbox(
    account: AccountId,
    body: ChangeMailboxInput,
    parts: PartsOf,
    deadline_s: DeadlineS,
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Rename a mailbox with all that is below it, subscribe to it, or no longer. A new path is subscribed to."""
    command = commands.ChangeMailbox(
        account=account, path=body.path, new_path=body.new_path, subscribed=body.subscribed
    )
    return await _ask(parts, "change-mailbox", command, deadline_s)


@router.delete(_URL, summary="Delete a mailbox", response_model=MailboxDeleted, responses=_RESPONSES)
async def delete_mailbox(
    account: AccountId, query: Annotated[DeleteMailboxQuery, Query()], parts: PartsOf, deadline_s: DeadlineS
) -> Response:
    """Delete a mailbox with all its messages. Where the server refuses, `deleted` is `false`."""
    command = commands.DeleteMailbox(account=account, path=query.path)
    return await _ask(parts, "delete-mailbox", command, deadline_s)


async def _ask(parts: Parts, operation: str, command: commands.Command, deadline_s: float) -> Response:
    return Response(await ask_owner(parts, operation, command, deadline_s=deadline_s), media_type="application/json")
