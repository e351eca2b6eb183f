"""The listener: sockets, the PROXY line, limits of connections, TLS; begun and replaced as the configuration asks.

Every replica of the sender that is told to listens; several on one machine share the port (SO_REUSEPORT).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from postbus.common.errors import NotFound, PostbusError, ProtocolError, Unavailable
from postbus.common.service import Parts
from postbus.sender.submission.accept import Letter, accept, count
from postbus.sender.submission.desk import Desk, Terms, Unknown
from postbus.sender.submission.guard import Guard
from postbus.sender.submission.limits import SubmissionLimits
from postbus.sender.submission.plan import Plan, Unfit, load_context, plan_server
from postbus.sender.submission.protocol import Conversation
from postbus.sender.submission.proxy_line import read_proxy_header
from postbus.sender.submission.receiving import Held

log = structlog.get_logger()

LOOK_AGAIN_S: Final = 1.0  # whether anything is to be changed, or a port that was taken is free
BACKLOG: Final = 128
BREATHE_S: Final = 0.5  # after a connection could not be taken: no descriptors left
TOO_MANY: Final = b"421 4.7.0 Too many connections, try again later\r\n"


@dataclass(slots=True)
class SubmissionServer:
    """Runs what settings and configuration ask for."""

    parts: Parts
    limits: SubmissionLimits = field(default_factory=SubmissionLimits)
    _running: Listener | None = None
    _trouble: str = ""

    async def run(self) -> None:
        """Run until cancelled. What can't be opened is said once, and tried again."""
        try:
            while True:
                try:
                    await self._follow()
                    self._trouble = ""
                except (Unfit, OSError) as error:
                    self._tell(getattr(error, "strerror", None) or str(error))
                await asyncio.sleep(LOOK_AGAIN_S)
        finally:
            if self._running is not None:
                await self._running.close()

    async def _follow(self) -> None:
        """The new listener first, on the same port perhaps, so that there always is one."""
        plan = plan_server(self.parts.config, self.parts.settings.current)
        former = self._running
        if plan == (former.plan if former else None):
            return
        self._running = Listener.open(self.parts, plan, self.limits) if plan else None
        if plan and plan.secret is None:
            log.warning("smtp submission server asks nobody to log in", host=plan.host)
        log.info("smtp submission server", ports=self._running.ports if self._running else [])
        if former is not None:
            await former.close()

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.error("smtp submission server can't run", reason=trouble)
        self._trouble = trouble


@dataclass(slots=True)
class Listener:
    """Listening sockets and the conversations that came of them."""

    parts: Parts
    plan: Plan
    limits: SubmissionLimits
    _sockets: list[socket.socket]
    _desk: Desk
    _terms: Terms
    _tls: ssl.SSLContext | None  # from the first byte
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _accepting: list[asyncio.Task[None]] = field(default_factory=list)
    _open: set[Conversation] = field(default_factory=set)

    @classmethod
    def open(cls, parts: Parts, plan: Plan, limits: SubmissionLimits) -> Listener:
        """Listen. OSError when the certificate or the address can't be used."""
        context = load_context(plan.certificate) if plan.certificate else None
        implicit = plan.certificate is not None and plan.certificate.implicit
        terms = Terms(
            hostname=socket.gethostname(),
            max_size=plan.max_size,
            auth_required=plan.secret is not None,
            starttls=None if implicit else context,
        )
        counterpart = Counterpart(parts, plan, limits.accept_s)
        desk = Desk(limits, Guard(limits), Held(limits.held), counterpart.log_in, counterpart.take)
        listener = cls(parts, plan, limits, _listen(plan), desk, terms, context if implicit else None)
        listener._accepting = [asyncio.create_task(listener._accept(one)) for one in listener._sockets]
        return listener

    @property
    def ports(self) -> list[int]:
        """The ports that were given, where any would do."""
        return sorted({int(one.getsockname()[1]) for one in self._sockets})

    async def close(self) -> None:
        """Take no more connections, let messages that are being kept be kept, end the rest."""
        for task in self._accepting:
            task.cancel()
        await asyncio.wait(self._accepting)
        for one in self._sockets:
            one.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.drain_s):
                await asyncio.gather(*(self._end(conversation) for conversation in self._open))
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _end(self, conversation: Conversation) -> None:
        await conversation.idle.wait()
        conversation.close("421 4.3.2 Shutting down")
        await conversation.ended.wait()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("smtp connection not taken", error=error.strerror or str(error))
                await asyncio.sleep(BREATHE_S)
                continue
            connection.setblocking(False)
            if len(self._tasks) >= 2 * self.limits.connections:  # also those whose address is not known yet
                connection.close()
                continue
            task = asyncio.create_task(self._serve(connection, str(peer[0])))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket, address: str) -> None:
        """One connection, from its first byte to its end."""
        try:
            address = await self._address(connection, address)
            if not self._desk.guard.admit(address):
                with suppress(OSError):
                    connection.send(TOO_MANY if self._tls is None else b"")
                connection.close()
                return
        except (ProtocolError, TimeoutError) as error:
            log.info("smtp connection refused", reason=str(error) or "no PROXY header in time", peer=address)
            connection.close()
            return
        except BaseException:
            connection.close()
            raise
        await self._converse(connection, address)

    async def _address(self, connection: socket.socket, address: str) -> str:
        if not self.plan.proxy:
            return address
        async with asyncio.timeout(self.limits.proxy_s):
            return await read_proxy_header(connection) or address

    async def _converse(self, connection: socket.socket, address: str) -> None:
        conversation = Conversation(self._desk, self._terms, address)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: conversation,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self.limits.handshake_s if self._tls else None,
            )
        except (OSError, TimeoutError) as error:  # the client does not speak TLS, or left
            log.debug("smtp connection failed", error=str(error) or type(error).__name__)
            conversation.abandon()
            return
        except BaseException:
            conversation.abandon()
            raise
        self._open.add(conversation)
        try:
            await conversation.ended.wait()
        finally:
            self._open.discard(conversation)
            conversation.abandon()


@dataclass(frozen=True, slots=True)
class Counterpart:
    """What a conversation asks of the rest of the sender."""

    parts: Parts
    plan: Plan
    accept_s: float

    async def log_in(self, user: str, secret: str) -> str:
        """The account's id, which is the user; Unknown for a wrong secret and for no account alike."""
        assert self.plan.secret is not None
        right = hmac.compare_digest(_digest(secret), _digest(self.plan.secret.get_secret_value()))
        try:
            account = await self.parts.accounts.get(user)
        except NotFound as error:
            raise Unknown("No such account") from error
        if not right:
            raise Unknown("Wrong secret")
        return account.record.account

    async def take(self, account: str | None, letter: Letter) -> str:
        """Keep a message and say so; errors as `accept`, in time."""
        try:
            async with asyncio.timeout(self.accept_s):
                reply = await accept(self.parts, account, letter)
        except (PostbusError, TimeoutError) as error:
            count(self.parts, accepted=False)
            refusal = error if isinstance(error, PostbusError) else Unavailable("It took too long")
            log.warning("submission refused", account=account, code=refusal.code, reason=refusal.message)
            if refusal is error:
                raise
            raise refusal from error
        count(self.parts, accepted=True)
        return reply


def _digest(secret: str) -> bytes:
    """Of equal length, so that comparing tells nothing about it."""
    return hashlib.sha256(secret.encode()).digest()


def _listen(plan: Plan) -> list[socket.socket]:
    found = socket.getaddrinfo(plan.host, plan.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            one = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(one)
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(BACKLOG)
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets
