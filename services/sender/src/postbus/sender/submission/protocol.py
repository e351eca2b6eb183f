"""The conversation with one client: aiosmtpd's commands, with our logins, limits, TLS and way of reading a message.

Overridden is what aiosmtpd does line by line (DATA), with parts of asyncio that uvloop lacks (STARTTLS), or against
RFC 4954 (two replies to one AUTH, `AUTH=` of MAIL refused).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import defaultdict
from typing import Any, Final, cast

import structlog
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session, syntax

from postbus.common.errors import ConnectionLost, PostbusError
from postbus.sender.submission.accept import Letter
from postbus.sender.submission.desk import NULL_SENDER, Desk, Hooks, Terms, Unknown
from postbus.sender.submission.receiving import Incoming, read_message
from postbus.sender.submission.replies import refusal_reply

log = structlog.get_logger()

READ_LIMIT: Final = 64 * 1024  # bytes of the reader; twice as much may be in memory unread
MAX_COMMAND: Final = 2048  # RFC 5321, 4.5.3.1.4 has 512; addresses in UTF-8 are longer
MAX_AUTH: Final = 12_288  # RFC 4954, 4

_AUTH_OF_MAIL: Final = re.compile(r" AUTH=\S*", re.IGNORECASE)

for _noisy in ("mail.log", "mail.debug"):  # they tell addresses and wrong passwords
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)


class Conversation(SMTP):
    """One connection. `address` is where the client is, behind a proxy too."""

    line_length_limit = READ_LIMIT
    command_size_limit = MAX_COMMAND

    def __init__(self, desk: Desk, terms: Terms, address: str) -> None:
        # Own ones: those of the class are shared by all connections and grow with every EHLO.
        self.command_size_limits = defaultdict(lambda: MAX_COMMAND)
        super().__init__(
            Hooks(desk.limits),
            data_size_limit=terms.max_size,
            enable_SMTPUTF8=True,
            hostname=terms.hostname,
            ident="ESMTP Postbus",
            tls_context=terms.starttls,
            timeout=desk.limits.idle_s,
            auth_require_tls=terms.starttls is not None,
            authenticator=self._remember,
            loop=asyncio.get_running_loop(),
        )
        self.command_size_limits["AUTH"] = MAX_AUTH
        self._auth_required = terms.auth_required
        self._desk = desk
        self._terms = terms
        self._address = address
        self._account: str | None = None
        self._claim: LoginPassword | None = None
        self._failures = 0
        self._stranger = True  # to the guard
        self.idle = asyncio.Event()  # no message is being received or kept
        self.idle.set()
        self.ended = asyncio.Event()

    def close(self, reply: str) -> None:
        """End the conversation from our side."""
        if self.transport is not None:
            cast(asyncio.Transport, self.transport).write(f"{reply}\r\n".encode("ascii"))
            self.transport.close()

    def abandon(self) -> None:
        """End whatever is left of it, at once."""
        if self.transport is not None:
            cast(asyncio.Transport, self.transport).abort()
        self._leave()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection has ended, whoever ended it."""
        self._leave()
        super().connection_lost(error)

    def eof_received(self) -> bool:
        """The client has left; a conversation that has not begun yet has nobody else to close it."""
        super().eof_received()
        return False

    async def handle_exception(self, error: Exception) -> str:
        """The reply to a command that failed in ways nobody expected."""
        log.error("smtp command failed", error=type(error).__name__, exc_info=error)
        return "451 4.3.0 Something is wrong here, try again later"

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        """MAIL; its parameter AUTH says nothing we need (RFC 4954, 5)."""
        await super().smtp_MAIL(_AUTH_OF_MAIL.sub("", arg) if arg else arg)

    @syntax("AUTH <mechanism>")
    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802
        """AUTH PLAIN and LOGIN. Too many failures end the conversation."""
        self._claim = None
        mechanism, _, rest = (arg or "").partition(" ")
        try:
            await super().smtp_AUTH(f"{mechanism.upper()} {rest}".strip())
        except ValueError:  # a line without end instead of a password
            self.close("500 5.5.6 Line too long")
        if self._claim is not None:
            await self._judge(self._claim)

    async def auth_PLAIN(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802
        """The reply is ours to give, whatever came."""
        await super().auth_PLAIN(server, args)
        return AuthResult(success=False, handled=True)

    async def auth_LOGIN(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802
        """The reply is ours to give, whatever came."""
        await super().auth_LOGIN(server, args)
        return AuthResult(success=False, handled=True)

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802
        """STARTTLS. What was said before is forgotten, also what was sent ahead (RFC 3207, 4.2 and 6)."""
        if arg or self._terms.starttls is None or self._tls_protocol is not None:
            await self.push("501 5.5.4 Syntax: STARTTLS" if arg else "503 5.5.1 No TLS to start")
            return
        await self.push("220 2.0.0 Ready to start TLS")
        plain = cast(asyncio.Transport, self.transport)  # uvloop's is none by its class
        self._reader._buffer.clear()  # type: ignore[attr-defined]
        try:
            secure = await self.loop.start_tls(
                plain,
                self,
                self._terms.starttls,
                server_side=True,
                ssl_handshake_timeout=self._desk.limits.handshake_s,
            )
        except OSError as error:  # ssl.SSLError and timeouts are such
            raise ConnectionResetError("no TLS") from error
        if secure is None:
            raise ConnectionResetError("the client left")
        self._over(secure)

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        """DATA: read the message in pieces and keep it; 250 is the promise that it is in the queue."""
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        assert self.envelope is not None
        if arg or not self.envelope.rcpt_tos:
            await self.push("501 5.5.4 Syntax: DATA" if arg else "503 5.5.1 Error: need RCPT command")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        self.idle.clear()
        try:
            await self.push(await self._receive(self.envelope))
        finally:
            self._set_post_data_state()  # type: ignore[no-untyped-call]
            self.idle.set()

    async def _receive(self, envelope: Envelope) -> str:
        incoming = Incoming(self._desk.held, self._terms.max_size)
        try:
            async with asyncio.timeout(self._desk.limits.message_s):
                raw = await read_message(self._reader, incoming, self._reset_timeout)
            self._reset_timeout()
            sender = "" if envelope.mail_from in (None, NULL_SENDER) else str(envelope.mail_from)
            return await self._desk.take(self._account, Letter(sender, tuple(envelope.rcpt_tos), raw))
        except TimeoutError as error:
            self.close("421 4.4.2 The message takes too long")
            raise ConnectionResetError("too slow") from error
        except ConnectionLost as error:
            self.close("552 5.3.4 The message is far too large")
            raise ConnectionResetError(error.message) from error
        except PostbusError as error:
            return refusal_reply(error)
        finally:
            incoming.close()

    async def _judge(self, claim: LoginPassword) -> None:
        """Answer a login."""
        assert self.session is not None
        try:
            user, secret = claim.login.decode(), claim.password.decode()
            self._account = await self._desk.log_in(user, secret)
        except (Unknown, UnicodeDecodeError):
            await self._refuse_login()
            return
        except PostbusError as error:
            log.warning("login could not be checked", reason=error.message)
            await self.push("454 4.7.0 Temporary authentication failure")
            return
        self._meet()
        self.session.authenticated = True
        await self.push("235 2.7.0 Authentication successful")

    async def _refuse_login(self) -> None:
        self._failures += 1
        log.warning("smtp login refused", peer=self._address)
        await asyncio.sleep(self._desk.guard.fail(self._address))
        if self._failures >= self._desk.limits.logins:
            self.close("421 4.7.0 Too many failed logins")
            return
        await self.push("535 5.7.8 Authentication credentials invalid")

    def _remember(self, _: SMTP, __: Session, ___: Envelope, ____: str, claim: Any) -> AuthResult:
        self._claim = claim if isinstance(claim, LoginPassword) else None
        return AuthResult(success=False, handled=True)

    def _over(self, transport: asyncio.Transport) -> None:
        """Go on over another transport, from the beginning."""
        assert self.session is not None
        self._tls_protocol = transport.get_protocol()  # type: ignore[assignment]
        self.transport = transport
        self._reader._transport = transport  # type: ignore[attr-defined]
        self._writer._transport = transport  # type: ignore[attr-defined]
        self._set_rset_state()  # type: ignore[no-untyped-call]
        self.session.ssl = {"sslcontext": self._terms.starttls}
        self.session.host_name = None
        self.session.extended_smtp = False
        self._reset_timeout()

    async def _handle_client(self) -> None:
        """The whole conversation, within its time."""
        if not self._auth_required:
            self._meet()
        login = self.loop.call_later(self._desk.limits.login_s, self._end_stranger)
        try:
            async with asyncio.timeout(self._desk.limits.connection_s):
                await super()._handle_client()
        except (ConnectionError, TimeoutError):
            pass
        finally:
            login.cancel()
            if self.transport is not None:
                self.transport.close()
            self._leave()

    def _meet(self) -> None:
        if self._stranger:
            self._stranger = False
            self._desk.guard.know(self._address)

    def _leave(self) -> None:
        if not self.ended.is_set():
            self.ended.set()
            self._desk.guard.leave(self._address, stranger=self._stranger)

    def _end_stranger(self) -> None:
        if self._stranger:
            self.close("421 4.4.2 Say who you are sooner")

    def _timeout_cb(self) -> None:
        self.close("421 4.4.2 Timeout")
