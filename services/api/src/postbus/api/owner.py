"""Commands to the owner of an account, and what becomes of its refusals: an unknown account is 404 whoever says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from postbus.api.account_view import shown_state
from postbus.common import ids
from postbus.common.bus import rpc
from postbus.common.bus.download import Download, open_download
from postbus.common.commands import Command, CountConnections, owner_subject
from postbus.common.errors import AccountNotUsable, NotFound, PostbusError, Unavailable
from postbus.common.service import Parts

COUNT_S = 0.5  # an account is told all the same


async def ask_owner(parts: Parts, operation: str, command: Command, *, deadline_s: float) -> bytes:
    """The answer of the owner, byte for byte.

    NotFound for an unknown account, AccountNotUsable with the state of one that can't be connected; the record is
    only read when the owner does not answer, so that an answer costs the store nothing here, and then at once, not
    after the time a takeover may last.
    """
    subject = owner_subject(ids.account_token(command.account), operation)
    try:
        return await rpc.call(
            parts.bus, subject, command, deadline_s=deadline_s, when_unowned=_explainer(parts, command.account)
        )
    except PostbusError as error:
        await explain(parts, command.account, error)
        raise


async def count_connections(parts: Parts, account_id: str, deadline_s: float) -> int | None:
    """How many IMAP connections of an account are open; None where its owner does not say so at once."""

    async def nobody() -> None:
        raise Unavailable("nobody owns the account")

    subject = owner_subject(ids.account_token(account_id), "connections")
    limit_s = min(deadline_s, COUNT_S)
    command = CountConnections(account=account_id)
    try:
        return int(await rpc.call(parts.bus, subject, command, deadline_s=limit_s, when_unowned=nobody))
    except (PostbusError, ValueError):
        return None


@asynccontextmanager
async def open_owner_download(
    parts: Parts, operation: str, command: Command, *, deadline_s: float
) -> AsyncIterator[Download]:
    """A body from the owner; errors as `ask_owner`, also for an owner that nobody plays."""
    subject = owner_subject(ids.account_token(command.account), operation)
    opened = False
    try:
        async with open_download(
            parts.bus, subject, command, deadline_s=deadline_s, when_unowned=_explainer(parts, command.account)
        ) as download:
            opened = True
            yield download
    except rpc.NotOwner as error:
        await explain(parts, command.account, error)
        raise Unavailable("No worker is ready for this account", code="WorkerNotAvailable") from error
    except PostbusError as error:
        if not opened:
            await explain(parts, command.account, error)
        raise


async def explain(parts: Parts, account_id: str, error: PostbusError) -> None:
    """Raise something better than an error of the owner, if the record of the account has a better reason."""
    if isinstance(error, NotFound):
        return
    if not isinstance(error, AccountNotUsable | Unavailable | rpc.NotOwner):
        return
    account = await parts.accounts.get(account_id)
    state = shown_state(account)
    if not account.record.syncs:
        raise AccountNotUsable("The account has no IMAP side in use", code="IMAPUnavailable", state=state) from error
    if isinstance(error, AccountNotUsable) and "state" not in error.details:
        error.details["state"] = state.value


def _explainer(parts: Parts, account_id: str) -> rpc.WhenUnowned:
    return lambda: explain(parts, account_id, rpc.NotOwner("nobody owns the account"))
