"""The SMTP side of the sandbox: who logs in may send to whoever has a mailbox here, and to nobody else."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from postbus.cli.sandbox.mailboxes import MAX_MESSAGE, Mailboxes
from postbus.cli.sandbox.people import DOMAIN

MAX_RECIPIENTS = 100


class Delivery:
    """What aiosmtpd asks about each envelope."""

    def __init__(self, mailboxes: Mailboxes) -> None:
        self._mailboxes = mailboxes

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take recipients that have a mailbox here."""
        if not address.lower().endswith(f"@{DOMAIN}"):
            return f"550 5.7.1 the sandbox delivers to addresses at {DOMAIN} only"
        if self._mailboxes.person(address) is None:
            return "550 5.1.1 no such mailbox"
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Deliver to each recipient, with the trace headers of a final delivery (RFC 5321, 4.4)."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        for address in dict.fromkeys(recipient.lower() for recipient in envelope.rcpt_tos):
            if person := self._mailboxes.person(address):
                await self._mailboxes.deliver(person, _trace(envelope, address) + content)
        return "250 2.0.0 delivered"


def smtp_protocol(mailboxes: Mailboxes) -> SMTP:
    """The protocol of one connection."""

    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: object) -> AuthResult:
        person = mailboxes.person(login.login.decode("utf-8", "replace")) if isinstance(login, LoginPassword) else None
        right = person is not None and isinstance(login, LoginPassword) and login.password == person.password.encode()
        return AuthResult(success=right, handled=right)

    return SMTP(
        Delivery(mailboxes),
        hostname=DOMAIN,
        ident="Postbus sandbox",
        data_size_limit=MAX_MESSAGE,
        enable_SMTPUTF8=True,
        authenticator=check,
        auth_required=True,
        auth_require_tls=False,
    )


def _trace(envelope: Envelope, recipient: str) -> bytes:
    sender = (envelope.mail_from or "").encode("utf-8", "replace").replace(b"\r", b"").replace(b"\n", b"")
    when = format_datetime(datetime.now(UTC)).encode()
    received = b"Received: by %s for <%s>;\r\n %s\r\n" % (DOMAIN.encode(), recipient.encode(), when)
    return b"Return-Path: <%s>\r\n%s" % (sender, received)
