"""The mail that lies in the mailboxes of the sandbox at its start."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

from postbus.cli.sandbox.people import DOMAIN, PEOPLE, Person

_LETTER = """\
Hello {name},

this mailbox lives in the sandbox of Postbus. It is thrown away when Postbus stops.
List it, read this message, answer it: the answer arrives at {other}.
"""
_HTML = "<p>Hello {name},</p><p>this one has an <b>HTML</b> part and an attachment, in case you want to fetch one.</p>"


def compose_welcome(person: Person) -> Iterator[bytes]:
    """Two messages to somebody: a plain one, and one with HTML and an attachment."""
    other = next(candidate for candidate in PEOPLE if candidate is not person)
    first = _message(person, other, "Welcome to the sandbox")
    first.set_content(_LETTER.format(name=person.name, other=other.address))
    yield first.as_bytes()
    second = _message(person, other, "A letter with an attachment ✉")
    second.set_content(f"Hello {person.name},\n\nthis one has an HTML part and an attachment.\n")
    second.add_alternative(_HTML.format(name=person.name), subtype="html")
    second.add_attachment("Attachments are fetched by their id.\n", filename="note.txt")
    yield second.as_bytes()


def _message(person: Person, other: Person, subject: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = f"{other.name} <{other.address}>"
    message["To"] = f"{person.name} <{person.address}>"
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=DOMAIN)
    return message
