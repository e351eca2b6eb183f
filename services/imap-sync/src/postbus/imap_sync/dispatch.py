"""Commands of other services: who is asked for, whether he can work now, and the operation that answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from nats.aio.msg import Msg

from postbus.common import ids
from postbus.common.bus import rpc
from postbus.common.bus.connection import Bus
from postbus.common.bus.download import send_download
from postbus.common.commands import DownloadHead, FlushAccount
from postbus.common.errors import BadInput
from postbus.imap_sync.operations import OPERATIONS, STREAMS
from postbus.imap_sync.session import AccountSession

PATIENCE = 0.8  # of the time that is left, for an account that just starts: then we say that it is not connected yet
LOAD_S = 5.0  # for the state of an account that was just taken over

FindSession = Callable[[str], Awaitable[AccountSession]]
Reconnect = Callable[[str], Awaitable[None]]
Flush = Callable[[FlushAccount], Awaitable[None]]


class _Addressed(msgspec.Struct):
    """The part of every command that says which account it is for."""

    account: str


class Dispatcher:
    """Answers the commands for the accounts of this worker."""

    def __init__(
        self, bus: Bus, sure: Callable[[], bool], find: FindSession, reconnect: Reconnect, flush: Flush
    ) -> None:
        self._bus = bus
        self._sure = sure
        self._find = find
        self._reconnect = reconnect
        self._flush = flush

    async def answer(self, message: Msg, left_s: float) -> None:
        """Run one command; what it raises becomes the reply. NotOwner while another worker may own the account."""
        if not self._sure():
            raise rpc.NotOwner("the account may be run by another worker")
        operation = message.subject.rsplit(".", 1)[-1]
        account = _account_of(message.data)
        if operation == "reconnect":
            await self._reconnect(ids.account_token(account))
            await rpc.bus_respond(message, b"{}", {})
            return
        if operation == "flush":
            await self._flush(FlushAccount.model_validate_json(message.data))
            await rpc.bus_respond(message, b"{}", {})
            return
        session = await self._find(account)
        if operation == "connections":
            await rpc.bus_respond(message, b"%d" % session.connections, {})
            return
        session.wake()
        await session.loaded(min(left_s, LOAD_S))
        await session.usable(left_s * PATIENCE)
        if (handler := OPERATIONS.get(operation)) is not None:
            async with asyncio.timeout(left_s):
                reply = await handler(session, message.data, left_s)
            await rpc.bus_respond(message, reply, {})
        elif (stream := STREAMS.get(operation)) is not None:
            await stream(session, message.data, left_s, self._reply_to(message))
        else:
            raise BadInput(f"there is no operation {operation}")

    def _reply_to(self, message: Msg) -> Callable[[DownloadHead, AsyncIterator[bytes]], Awaitable[None]]:
        async def reply(head: DownloadHead, body: AsyncIterator[bytes]) -> None:
            await send_download(self._bus, message, head, body)

        return reply


def _account_of(payload: bytes) -> str:
    try:
        return msgspec.json.decode(payload, type=_Addressed).account
    except msgspec.DecodeError as error:
        raise BadInput("the command names no account") from error
