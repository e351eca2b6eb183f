"""One SMTP connection (RFC 5321) over aiosmtplib, and one message after another on it.

Every wait has a limit, those of RFC 5321, 4.5.3.2. A connection on which something was cancelled or timed out is
closed, never used again: the next command would read the answer of the last one.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import aiosmtplib
from aiosmtplib import SMTPResponse

from postbus.common.proxies import Proxy
from postbus.sender.faults import failures, lost, refused_by, shown, timed_out
from postbus.sender.outcome import (
    CLOSING,
    Accepted,
    DeliveryFailed,
    Failure,
    Refusal,
    refusal_failure,
    rewritten_message_id,
)
from postbus.sender.stuffing import END_OF_DATA, DotStuffer

SLICE_BYTES: Final = 64 * 1024
_SIZE: Final = "size"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of single waits, in seconds; of the whole of a delivery at the end."""

    connect_s: float = 30.0
    command_s: float = 300.0
    block_s: float = 180.0
    end_of_data_s: float = 900.0  # a server that scans slowly is not asked twice
    quit_s: float = 5.0
    delivery_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where to connect, and how. `local_address` None lets the system choose; through a proxy it does not count."""

    host: str
    port: int
    secure: bool
    tls: ssl.SSLContext
    ehlo_name: str
    local_address: str | None = None
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """One message: addresses ready for the wire, and its bytes, to be read once. `utf8` asks for SMTPUTF8."""

    sender: str
    recipients: tuple[str, ...]
    size: int
    utf8: bool
    body: AsyncIterator[bytes]


@dataclass(slots=True)
class Session:
    """An open connection. `used_at` is the loop's time of the last answer."""

    timeouts: Timeouts
    _client: aiosmtplib.SMTP
    messages: int = 0
    _end_sent: bool = False
    used_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    @property
    def usable(self) -> bool:
        """Whether the connection still stands, as far as we know."""
        return self._client.is_connected

    async def send(self, mail: Mail, before_end: Callable[[], Awaitable[None]]) -> Accepted:
        """Hand over one message; `before_end` runs when all but its end is out, and may stop it there by raising.

        DeliveryFailed when nobody got it, with `failure.uncertain` when the answer to its end never came.
        """
        self._end_sent = False
        try:
            async with asyncio.timeout(self.timeouts.delivery_s):
                accepted = await self._transaction(mail, before_end)
        except TimeoutError as error:
            self.close()
            raise DeliveryFailed(timed_out("DATA", end_sent=self._end_sent)) from error
        except DeliveryFailed as failed:
            await self._reset(failed)
            raise
        except BaseException:
            self.close()
            raise
        self.messages += 1
        self.used_at = asyncio.get_running_loop().time()
        return accepted

    async def alive(self) -> bool:
        """Ask whether the server is still there."""
        try:
            reply = await self._client.noop(timeout=self.timeouts.quit_s)
        except (aiosmtplib.SMTPException, OSError):
            self.close()
            return False
        except BaseException:
            self.close()
            raise
        self.used_at = asyncio.get_running_loop().time()
        return reply.code == 250

    async def quit(self) -> None:
        """Say goodbye and close."""
        try:
            await self._client.quit(timeout=self.timeouts.quit_s)
        except (aiosmtplib.SMTPException, OSError):
            return
        finally:
            self.close()

    def close(self) -> None:
        """Close at once."""
        self._client.close()

    async def _transaction(self, mail: Mail, before_end: Callable[[], Awaitable[None]]) -> Accepted:
        options = self._mail_options(mail)
        charset = "utf-8" if mail.utf8 else "ascii"
        with failures("MAIL FROM"):
            await self._expect(b"MAIL", b"FROM:<" + mail.sender.encode(charset) + b">", *options)
        taken: list[str] = []
        refused: list[Refusal] = []
        for recipient in mail.recipients:
            with failures("RCPT TO"):
                reply = await self._command(b"RCPT", b"TO:<" + recipient.encode(charset) + b">")
            if reply.code in (250, 251):
                taken.append(recipient)
                continue
            refused.append(Refusal(recipient=recipient, reply_code=reply.code, reply=shown(reply)))
            if reply.code == CLOSING:
                raise DeliveryFailed(refusal_failure(tuple(refused[-1:])))
        if not taken:
            raise DeliveryFailed(refusal_failure(tuple(refused)), tuple(refused))
        reply = await self._data(mail.body, before_end)
        said = f"{reply.code} {shown(reply)}"
        given = rewritten_message_id(self._client.hostname or "", said)
        return Accepted(reply=said, recipients=tuple(taken), refused=tuple(refused), message_id=given)

    def _mail_options(self, mail: Mail) -> list[bytes]:
        """Extensions the server offered; DeliveryFailed for what can't travel to it (RFC 1870, 6152, 6531)."""
        offered = self._client.esmtp_extensions
        limit = offered.get(_SIZE, "").strip()
        if limit.isdecimal() and 0 < int(limit) < mail.size:
            raise DeliveryFailed(Failure(error=f"Message is over the server's limit of {limit} bytes", code="EMESSAGE"))
        if mail.utf8 and "smtputf8" not in offered:
            error = "The server does not take addresses beyond ASCII (SMTPUTF8)"
            raise DeliveryFailed(Failure(error=error, code="EENVELOPE", command="MAIL FROM"))
        options = [b"SIZE=%d" % mail.size] if _SIZE in offered else []
        options += [b"BODY=8BITMIME"] if "8bitmime" in offered else []
        return [*options, b"SMTPUTF8"] if mail.utf8 else options

    async def _data(self, body: AsyncIterator[bytes], before_end: Callable[[], Awaitable[None]]) -> SMTPResponse:
        """DATA in slices: the library's own command copies the message three times and stops the loop for it."""
        protocol = self._client.protocol
        if protocol is None or protocol._command_lock is None:
            raise DeliveryFailed(lost("DATA", "Connection lost"))
        async with protocol._command_lock:
            with failures("DATA"):
                protocol._response_pending = True
                protocol.write(b"DATA\r\n")
                start = await protocol.read_response(timeout=self.timeouts.command_s)
                if start.code != 354:
                    raise aiosmtplib.SMTPDataError(start.code, start.message)
                await self._write_body(protocol, body)
            await before_end()
            self._end_sent = True
            with failures("DATA", end_sent=True):
                protocol.write(END_OF_DATA)
                reply = await protocol.read_response(timeout=self.timeouts.end_of_data_s)
        if reply.code != 250:
            raise DeliveryFailed(refused_by("DATA", reply))
        return reply

    async def _write_body(self, protocol: aiosmtplib.protocol.SMTPProtocol, body: AsyncIterator[bytes]) -> None:
        """The message without its end. An answer in the middle of it is a refusal: the end is not sent then."""
        protocol._response_pending = True
        stuffer = DotStuffer()
        async for piece in body:
            wire = stuffer.feed(piece)
            for start in range(0, len(wire), SLICE_BYTES):
                await self._write_slice(protocol, wire[start : start + SLICE_BYTES])
        await self._write_slice(protocol, stuffer.finish())

    async def _write_slice(self, protocol: aiosmtplib.protocol.SMTPProtocol, data: bytes) -> None:
        waiter = protocol._response_waiter
        if waiter is None or waiter.done():
            early = await protocol.read_response(timeout=self.timeouts.command_s)
            self.close()
            raise DeliveryFailed(refused_by("DATA", early))
        protocol.write(data)
        async with asyncio.timeout(self.timeouts.block_s):
            await protocol._drain_helper()

    async def _reset(self, failed: DeliveryFailed) -> None:
        """End a transaction the server refused, so that the next one can start; without a reply there is no next."""
        if failed.failure.reply_code is None or not self.usable:
            self.close()
            return
        try:
            await self._client.rset(timeout=self.timeouts.command_s)
        except (aiosmtplib.SMTPException, OSError):
            self.close()
        except BaseException:
            self.close()
            raise

    async def _command(self, *words: bytes) -> SMTPResponse:
        return await self._client.execute_command(*words, timeout=self.timeouts.command_s)

    async def _expect(self, *words: bytes) -> None:
        reply = await self._command(*words)
        if reply.code != 250:
            raise aiosmtplib.SMTPResponseException(reply.code, reply.message)
