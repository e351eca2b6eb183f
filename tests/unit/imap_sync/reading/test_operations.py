"""What operations decide without a server: pages, cursors, sizes of answers, references, when a copy is filed."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.accounts import AccountRecord, ImapSettings, SmtpSettings
from postbus.common.errors import TooLarge
from postbus.common.jobs import Filing
from postbus.common.times import now
from postbus.imap_sync.operations.answers import encode_with_text
from postbus.imap_sync.operations.filing import skip_reason
from postbus.imap_sync.operations.messages import page_cursor
from postbus.imap_sync.operations.pages import Page
from postbus.imap_sync.operations.reference import compose_reference
from postbus.imap_sync.protocol.values import EnvelopeAddress, Fetched, MessageEnvelope
from postbus.imap_sync.texts import Text


def test_the_first_page_holds_the_newest_messages() -> None:
    assert Page(0, 20).window(45) == "26:45"
    assert Page(1, 20).window(45) == "6:25"
    assert Page(2, 20).window(45) == "1:5"
    assert Page(3, 20).window(45) is None
    assert Page(0, 20).window(0) is None


@given(st.integers(0, 5000), st.integers(1, 1000))
def test_pages_show_every_message_once(total: int, size: int) -> None:
    shown: list[int] = []
    for page in range(-(-total // size) + 1):
        if window := Page(page, size).window(total):
            first, last = map(int, window.split(":"))
            shown += range(last, first - 1, -1)
    assert shown == list(range(total, 0, -1))


def test_a_cursor_is_a_prefix_and_the_page() -> None:
    cursor = page_cursor(7)
    assert cursor.startswith("imap_")
    assert json.loads(base64.urlsafe_b64decode(cursor.removeprefix("imap_") + "==")) == {"page": 7}


def test_text_that_does_not_fit_on_the_bus_is_cut_and_says_so() -> None:
    fields: dict[str, Any] = {"id": "x", "text": {"id": "y"}}
    body = encode_with_text(fields, fields["text"], Text("\0" * 10_000, "ä" * 10_000, has_more=False), 5000)
    answer = json.loads(body)
    assert len(body) <= 5000
    assert answer["text"]["hasMore"] is True
    assert answer["text"]["plain"] and answer["text"]["html"]


def test_an_answer_that_is_too_large_without_text_is_refused() -> None:
    with pytest.raises(TooLarge):
        encode_with_text({"headers": "x" * 6000}, {}, Text("abc", None, has_more=False), 5000)


def reference_row(block: bytes = b"", **envelope: Any) -> Fetched:
    return Fetched(1, 2, envelope=MessageEnvelope(**envelope), sections={"HEADER.FIELDS (REFERENCES)": block})


def test_a_reference_tells_the_ids_with_brackets_and_unfolded() -> None:
    row = reference_row(
        b"References: <a@x>\r\n <b@x>,\r\n\t<c\r\n @x>\r\n\r\n",
        message_id=b" <m@x> ",
        in_reply_to=b"Your message of Monday <c@x> (comment)",
        subject=b"=?utf-8?q?=C3=A4?=",
    )
    reference = compose_reference(row)
    assert reference.references == "<a@x> <b@x> <c@x>"
    assert reference.message_id == "<m@x>"
    assert reference.in_reply_to == "<c@x>"
    assert reference.subject == "ä"


def test_the_reference_of_an_empty_message_is_empty() -> None:
    reference = compose_reference(Fetched(1, 2))
    assert (reference.message_id, reference.in_reply_to, reference.references, reference.subject) == (
        None,
        None,
        None,
        "",
    )
    assert reference.from_ == reference.to == []


def test_only_real_addresses_can_be_answered() -> None:
    group = (
        EnvelopeAddress(None, b"list", None),
        EnvelopeAddress(b"A", b"a", b"x.test"),
        EnvelopeAddress(None, None, None),
    )
    assert [entry.address for entry in compose_reference(reference_row(reply_to=group)).reply_to] == ["a@x.test"]


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_whatever_references_are_made_of_they_are_read(block: bytes, message_id: bytes) -> None:
    row = reference_row(b"References: " + block, message_id=message_id)
    for text in (compose_reference(row).references, compose_reference(row).message_id):
        assert text is None or not set(text) & set("\r\n\0")


def filing(**more: Any) -> Filing:
    return Filing(queue_id="q", account="a", message_id="<m@x>", created=now(), size=1, **more)


def record(
    imap_host: str = "imap.example.test",
    smtp_host: str = "smtp.example.test",
    imap_user: str | None = "anna@example.test",
    smtp_user: str | None = "Anna@example.test",
) -> AccountRecord:
    imap = ImapSettings(host=imap_host, port=993, user=imap_user)
    return AccountRecord(account="a", imap=imap, smtp=SmtpSettings(host=smtp_host, port=465, user=smtp_user))


def test_a_copy_is_filed_unless_nobody_wants_it_or_the_server_does_it() -> None:
    """Gmail and Outlook file by themselves (trap 57)."""
    assert skip_reason(record(), filing(), is_gmail=False) is None
    assert skip_reason(record(), filing(copy_sent=False), is_gmail=False)
    assert skip_reason(record(), filing(), is_gmail=True)
    assert skip_reason(record(smtp_host="SMTP.Office365.com."), filing(), is_gmail=False)
    assert skip_reason(record(imap_host="outlook.office365.com", smtp_user=None), filing(), is_gmail=False)
    assert skip_reason(record(imap_host="imap.not-office365.com"), filing(), is_gmail=False) is None


def test_a_shared_mailbox_of_outlook_gets_its_copy_as_the_server_files_it_elsewhere() -> None:
    """IMAP is logged in to as the shared mailbox, SMTP as the person who may send for it (traps 57, 58)."""
    hosts = {"imap_host": "outlook.office365.com", "smtp_host": "smtp.office365.com"}
    shared = record(**hosts, imap_user="anna@example.test\\shared@example.test")
    assert skip_reason(shared, filing(), is_gmail=False) is None
    assert skip_reason(record(**hosts), filing(), is_gmail=False)


def test_a_message_that_asks_for_its_copy_gets_one_also_where_the_server_makes_its_own() -> None:
    """Message, then provider, then account (trap 57)."""
    asked = filing(copy_asked=True)
    assert skip_reason(record(), asked, is_gmail=True) is None
    assert skip_reason(record(smtp_host="smtp.office365.com"), asked, is_gmail=False) is None
