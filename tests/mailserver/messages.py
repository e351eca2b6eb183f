"""Small messages, and their way straight into a mailbox."""

import email.utils
import secrets
import smtplib
from collections.abc import Sequence

from tests.mailserver.net import HOST

DEFAULT_SENDER = "sender@example.test"


def sample_message(to: str, number: int = 0, text: str | None = None, **headers: str) -> bytes:
    """A small plain message in wire form; further headers by keyword, with `_` for `-`."""
    fields = {
        "From": f"Sender <{DEFAULT_SENDER}>",
        "To": to,
        "Subject": f"Test message {number}",
        "Date": email.utils.formatdate(localtime=True),
        "Message-ID": f"<{secrets.token_hex(10)}@example.test>",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "8bit",
    }
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{head}\r\n{text or f'Hello, this is message {number}.'}\r\n".encode()


def deliver_by_lmtp(port: int, recipients: Sequence[str], messages: Sequence[bytes], sender: str) -> None:
    """Put messages into mailboxes, over one connection. SMTPRecipientsRefused when a recipient is refused."""
    with smtplib.LMTP(HOST, port) as lmtp:
        for raw in messages:
            if refused := lmtp.sendmail(sender, recipients, raw):
                raise smtplib.SMTPRecipientsRefused(refused)
