"""A message that is composed anew is the same one; a message that says something else is not."""

import random
from email.message import EmailMessage
from email.utils import make_msgid

import pytest

from postbus.common.mime.raw import parse_raw
from postbus.sender.submission.fingerprint import fingerprint


def composed(text: str = "Hello", seed: int = 0) -> bytes:
    """A message as a client makes it: its own Date, Message-ID and boundaries each time."""
    random.seed(seed)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.test", "b@example.test", "once"
    message["Date"], message["Message-ID"] = f"Wed, 25 Nov 2026 10:00:{seed:02} +0000", make_msgid()
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p>", subtype="html")
    message.add_attachment(b"bytes", maintype="application", subtype="octet-stream", filename="f")
    return message.as_bytes()


def of(raw: bytes, sender: str = "a@example.test", to: tuple[str, ...] = ("b@example.test",)) -> bytes:
    return fingerprint(sender, to, parse_raw(raw))


def test_a_message_that_is_composed_anew_is_the_same() -> None:
    first, second = composed(seed=1), composed(seed=2)
    assert first != second and of(first) == of(second)


@pytest.mark.parametrize(
    "other",
    [
        of(composed("Hello!")),
        of(composed().replace(b"Subject: once", b"Subject: twice")),
        of(composed(), sender="c@example.test"),
        of(composed(), to=("b@example.test", "c@example.test")),
    ],
)
def test_another_text_field_sender_or_recipient_makes_another_message(other: bytes) -> None:
    assert other != of(composed())


def test_boundaries_without_end_are_not_all_looked_at() -> None:
    many = b"".join(b'Content-Type: x; boundary="%06d"\r\n' % number for number in range(5000))
    assert len(of(many + b"\r\n" + many)) > len(many)
