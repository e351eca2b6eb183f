"""What conversations with clients share: how the server speaks, who may log in, which addresses it takes."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiosmtpd.smtp import SMTP, Envelope, Session

from postbus.common.errors import PostbusError
from postbus.common.mime.compose import wire_address
from postbus.sender.submission.accept import Letter
from postbus.sender.submission.guard import Guard
from postbus.sender.submission.limits import SubmissionLimits
from postbus.sender.submission.receiving import Held

NULL_SENDER: Final = "<>"


class Unknown(PostbusError):
    """The login is wrong."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What all conversations share. `log_in(user, secret)` answers with the account's id; Unknown for a wrong login.

    `take(account, letter)` keeps a message and answers with the reply; PostbusError when it can't.
    """

    limits: SubmissionLimits
    guard: Guard
    held: Held
    log_in: Callable[[str, str], Awaitable[str]]
    take: Callable[[str | None, Letter], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Terms:
    """How the server speaks: `starttls` offers TLS, and asks for it before passwords."""

    hostname: str
    max_size: int
    auth_required: bool = True
    starttls: ssl.SSLContext | None = None


class Hooks:
    """What aiosmtpd asks about addresses."""

    def __init__(self, limits: SubmissionLimits) -> None:
        self._limits = limits

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a sender; the null address is one."""
        if address != NULL_SENDER and not _is_address(address):
            return "553 5.1.7 Malformed address"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient."""
        if not _is_address(address):
            return "553 5.1.3 Malformed address"
        if len(envelope.rcpt_tos) >= self._limits.recipients:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"


def _is_address(address: str) -> bool:
    try:
        address.encode()
        wire_address(address)
    except ValueError:
        return False
    return True
