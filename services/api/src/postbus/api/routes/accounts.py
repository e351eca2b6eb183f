"""Accounts: register, read, change, remove, reconnect (contract, sections 1, 4 and 5)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
import structlog
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from postbus.api.account_changes import Changed, changed_account, new_account
from postbus.api.account_view import account_summary, account_view, shown_state
from postbus.api.document import errors_of
from postbus.api.owner import ask_owner, count_connections
from postbus.api.requests import AccountId, DeadlineS, JsonRoute, PartsOf
from postbus.api.schemas.account_answers import (
    AccountAnswer,
    AccountChanged,
    AccountPage,
    AccountRemoved,
    AccountSaved,
    Reconnected,
    Synced,
)
from postbus.api.schemas.accounts import AccountChange, AccountInput, AccountQuery, ReconnectInput, SyncInput
from postbus.api.schemas.fields import Given, Input
from postbus.api.schemas.system import NoQuery
from postbus.common import commands, ids
from postbus.common.accounts import Account, AccountState
from postbus.common.errors import NotFound, PostbusError
from postbus.common.events import AccountAdded, AccountDeleted, AccountInfo, seal_event
from postbus.common.service import Parts
from postbus.common.store.accounts import MAX_UPDATE_TRIES, changed_meanwhile, new_generation

log = structlog.get_logger()

router = APIRouter(route_class=JsonRoute, tags=["Account"])

_SCAN = 500
_ERRORS = (AccountState.AUTHENTICATION_ERROR.value, AccountState.CONNECT_ERROR.value)

StateFilter = Literal[
    "init",
    "unset",
    "connected",
    "connecting",
    "syncing",
    "authenticationError",
    "connectError",
    "disconnected",
    "paused",
    "errors",
]


class AccountsQuery(Input):
    """Which accounts."""

    page: int = Field(0, ge=0, le=1_048_576, description="Page, from 0")
    page_size: int = Field(20, ge=1, le=1000, description="Accounts on a page")
    state: Given[StateFilter] = Field(
        None, description="Only accounts in this state; `errors` for both states of failure"
    )
    query: Given[Annotated[str, Field(max_length=1024)]] = Field(
        None, description="Only accounts whose id, name or email holds this text, in any case"
    )


@router.post(
    "/v1/account",
    summary="Register an account",
    response_model=AccountSaved,
    responses=errors_of(400, 401, 404, 409, 500, 503),
)
async def register(
    body: AccountInput, parts: PartsOf, deadline_s: DeadlineS, _: Annotated[NoQuery, Query()]
) -> Response:
    """Store an account and connect it in the background; an account of the same id is changed instead.

    Logins are not checked by this request: the state of the account tells, and so do events. Passwords and tokens are
    encrypted before they are stored.
    """
    account = body.account if body.account is not None else secrets.token_hex(10)
    for _attempt in range(MAX_UPDATE_TRIES):
        current = await _find(parts, account)
        if current is None:
            indexer = parts.settings.current.imap_indexer or "full"
            saved = await _create(parts, new_account(account, body, indexer=indexer))
        else:
            saved = await _update(parts, current, changed_account(current.record, current.sealed, body))
        if saved:
            await _tell(parts, account)
            return _json({"account": account, "state": "new" if current is None else "existing"})
    raise changed_meanwhile()


@router.get(
    "/v1/account/{account}",
    summary="Read an account",
    response_model=AccountAnswer,
    responses=errors_of(400, 401, 404, 500, 503),
)
async def read(
    account: AccountId, query: Annotated[AccountQuery, Query()], parts: PartsOf, deadline_s: DeadlineS
) -> Response:
    """Everything that is stored about an account; passwords and tokens read `******`."""
    stored = await parts.accounts.get(account)
    view = account_view(stored)
    if stored.record.syncs and (connections := await count_connections(parts, account, deadline_s)) is not None:
        view = {**view, "connections": connections}
    if query.quota:
        view = {**view, "quota": await _quota(parts, account, deadline_s)}
    return _json(view)


@router.put(
    "/v1/account/{account}",
    summary="Change an account",
    response_model=AccountChanged,
    responses=errors_of(400, 401, 404, 409, 500, 503),
)
async def change(
    account: AccountId, body: AccountChange, parts: PartsOf, deadline_s: DeadlineS, _: Annotated[NoQuery, Query()]
) -> Response:
    """Change what is given, keep the rest. `imap` and `smtp` replace all settings of their side, unless `partial`."""
    for _attempt in range(MAX_UPDATE_TRIES):
        current = await parts.accounts.get(account)
        if await _update(parts, current, changed_account(current.record, current.sealed, body)):
            await _tell(parts, account)
            return _json({"account": account})
    raise changed_meanwhile()


@router.delete(
    "/v1/account/{account}",
    summary="Remove an account",
    response_model=AccountRemoved,
    responses=errors_of(400, 401, 404, 500, 503),
)
async def remove(account: AccountId, parts: PartsOf, deadline_s: DeadlineS, _: Annotated[NoQuery, Query()]) -> Response:
    """Remove an account with all that is stored about it; nothing happens to its mail."""
    current = await parts.accounts.get(account)
    event = AccountDeleted(account=account, data=AccountInfo(account=account))
    await parts.bus.publish_event(seal_event(event, current.generation))
    await parts.accounts.delete(current)
    await _tell(parts, account)
    return _json({"account": account, "deleted": True})


@router.put(
    "/v1/account/{account}/reconnect",
    summary="Reconnect an account",
    response_model=Reconnected,
    responses=errors_of(400, 401, 404, 500, 503, 504),
)
async def reconnect(
    account: AccountId,
    parts: PartsOf,
    deadline_s: DeadlineS,
    _: Annotated[NoQuery, Query()],
    body: ReconnectInput | None = None,
) -> Response:
    """Drop the connections of an account and start again, in whatever state it is."""
    wanted = body is not None and body.reconnect
    current = await parts.accounts.get(account)
    if wanted and current.record.syncs:
        await ask_owner(parts, "reconnect", commands.Reconnect(account=account), deadline_s=deadline_s)
    return _json({"reconnect": wanted})


@router.put(
    "/v1/account/{account}/sync",
    summary="Sync an account",
    response_model=Synced,
    responses=errors_of(400, 401, 404, 500, 503, 504),
)
async def sync(
    account: AccountId,
    parts: PartsOf,
    deadline_s: DeadlineS,
    _: Annotated[NoQuery, Query()],
    body: SyncInput | None = None,
) -> Response:
    """List the mailboxes and compare all messages that are synced, now. Events tell what had been missed."""
    wanted = body is not None and body.sync
    await parts.accounts.get(account)
    if wanted:
        await ask_owner(parts, "sync", commands.Resync(account=account), deadline_s=deadline_s)
    return _json({"sync": wanted})


@router.get(
    "/v1/accounts",
    summary="List accounts",
    response_model=AccountPage,
    responses=errors_of(400, 401, 500, 503),
)
async def list_accounts(query: Annotated[AccountsQuery, Query()], parts: PartsOf, deadline_s: DeadlineS) -> Response:
    """Accounts in the order of their ids."""
    start = query.page * query.page_size
    if query.state is None and not query.query:
        total = await parts.accounts.count()
        found = await parts.accounts.page(start, query.page_size) if start < total else []
    else:
        total, found = await _search(parts, query, start)
    page = {
        "total": total,
        "page": query.page,
        "pages": max(1, -(-total // query.page_size)),
        "query": query.query or False,
        "state": query.state or "*",
        "accounts": [account_summary(account) for account in found],
    }
    return _json(page)


async def _search(parts: Parts, query: AccountsQuery, start: int) -> tuple[int, list[Account]]:
    """How many match, and those of the page; reads everything, a batch at a time."""
    total, found = 0, []
    accounts = await parts.accounts.ids()
    for first in range(0, len(accounts), _SCAN):
        for account in await parts.accounts.many(accounts[first : first + _SCAN]):
            if _matches(account, query):
                if start <= total < start + query.page_size:
                    found.append(account)
                total += 1
    return total, found


def _matches(account: Account, query: AccountsQuery) -> bool:
    if query.state is not None:
        wanted = _ERRORS if query.state == "errors" else (query.state,)
        if shown_state(account).value not in wanted:
            return False
    text = (query.query or "").casefold()
    record = account.record
    return not text or any(text in value.casefold() for value in (record.account, record.name, record.email or ""))


async def _quota(parts: Parts, account: str, deadline_s: float) -> dict[str, Any] | Literal[False]:
    """What the mail server says; False where it can't be asked, as the account itself is told all the same."""
    try:
        answer = await ask_owner(parts, "quota", commands.GetQuota(account=account), deadline_s=deadline_s)
    except PostbusError as error:
        log.info("quota not known", account=ids.account_token(account), reason=error.message)
        return False
    quota: dict[str, Any] | Literal[False] = orjson.loads(answer)
    return quota


async def _find(parts: Parts, account: str) -> Account | None:
    try:
        return await parts.accounts.get(account)
    except NotFound:
        return None


async def _create(parts: Parts, changed: Changed) -> bool:
    account = changed.record.account
    generation = new_generation()
    event = seal_event(AccountAdded(account=account, data=AccountInfo(account=account)), generation)
    sealed = {name: value for name, value in _sealed(parts, changed).items() if value is not None}
    return await parts.accounts.create(changed.record, sealed, event, generation)


async def _update(parts: Parts, current: Account, changed: Changed) -> bool:
    return await parts.accounts.update(current, changed.record, _sealed(parts, changed))


def _sealed(parts: Parts, changed: Changed) -> Mapping[str, str | None]:
    """Secrets as they may be stored."""
    account = changed.record.account
    return {
        name: None if plain is None else parts.secrets.seal(plain, account=account, field=name)
        for name, plain in changed.secrets.items()
    }


async def _tell(parts: Parts, account: str) -> None:
    await parts.bus.say(commands.ACCOUNTS_CHANGED, ids.account_token(account).encode())


def _json(body: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
