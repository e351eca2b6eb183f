"""How commands look in the log of an account: nothing that is secret, nothing that people wrote."""

import base64
import json

import pytest

from postbus.common.account_log import MAX_LINE_BYTES, compose_line
from postbus.imap_sync.protocol.arguments import astring
from postbus.imap_sync.trace import describe

TOKEN = base64.b64encode(b"user=jan\x01auth=Bearer s3cret\x01\x01").decode()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("LOGIN", astring("jan"), astring("s3cret")), "LOGIN"),
        (("AUTHENTICATE XOAUTH2 " + TOKEN,), "AUTHENTICATE XOAUTH2"),
        (("AUTHENTICATE PLAIN",), "AUTHENTICATE PLAIN"),
        (("UID SEARCH", "RETURN (ALL)", "SUBJECT", astring("s3cret plan")), "UID SEARCH"),
        (("UID SEARCH CHARSET UTF-8", b"s3cret"), "UID SEARCH"),
        (("X-UNHEARD-OF", "s3cret"), "X-UNHEARD-OF"),
        (("APPEND", astring("Sent"), "(\\Seen)", b"Subject: s3cret"), 'APPEND "Sent" (\\Seen) {15}'),
        (("UID FETCH 1:5", "(UID FLAGS)"), "UID FETCH 1:5 (UID FLAGS)"),
        (("SELECT", astring("Zo\u00eb")), None),
    ],
)
def test_a_command_shows_no_more_than_it_may(arguments: tuple[str | bytes, ...], shown: str | None) -> None:
    text = describe(arguments)[1]
    assert shown is None or text == shown
    assert "s3cret" not in text
    assert TOKEN not in text


def test_a_command_that_is_long_is_cut() -> None:
    assert len(describe(("UID FETCH " + "1," * 5000, "(UID)"))[1]) == 300


def test_a_line_is_one_line_of_json_of_limited_size() -> None:
    line = compose_line("imap", text="a\nb\udc80" + "x" * 9000, code=None, ms=3)
    assert b"\n" not in line
    assert len(line) <= MAX_LINE_BYTES
    fields = json.loads(line)
    assert (fields["source"], fields["ms"]) == ("imap", 3)
    assert "code" not in fields
    worst = compose_line("imap", **{f"f{n}": "\x00" * 300 for n in range(9)})
    assert len(worst) <= MAX_LINE_BYTES
    assert json.loads(worst)["cut"] is True
