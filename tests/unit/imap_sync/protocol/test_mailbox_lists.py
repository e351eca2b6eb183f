"""RFC 9051, 7.3: LIST, STATUS and NAMESPACE answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import ProtocolError
from postbus.imap_sync.protocol.mailboxes import (
    parse_list,
    parse_personal_namespaces,
    parse_status_data,
    parse_xlist,
)
from postbus.imap_sync.protocol.values import ListedMailbox, MailboxStatus


def listed(text: bytes) -> ListedMailbox:
    return parse_list([text], 0)[0]


@pytest.mark.parametrize(
    ("text", "path", "delimiter", "attributes"),
    [
        (b'(\\Noselect) "/" ~/Mail/foo', "~/Mail/foo", "/", {"\\noselect"}),
        (b'(\\HasNoChildren \\Sent) "." "Entw&APw-rfe"', "Entwürfe", ".", {"\\hasnochildren", "\\sent"}),
        (b'() NIL "inbox"', "INBOX", None, set()),
        (b'() "NIL" Trash', "Trash", None, set()),
        (b'() "." "inbox.Sent"', "INBOX.Sent", ".", set()),
        (b'() "/" [Gmail]/Trash', "[Gmail]/Trash", "/", set()),
        (b'() "/" "a* b* c"', "a* b* c", "/", set()),
        (b'() "/" Sent Items', "Sent Items", "/", set()),
        (b'() "/" NIL', "NIL", "/", set()),
        (b'(\\Marked) "/" "x" (CHILDINFO ("SUBSCRIBED"))', "x", "/", {"\\marked"}),
        (rb'() "\\" "a\\b"', "a\\b", "\\", set()),
    ],
)
def test_a_row_of_list_is_path_delimiter_and_attributes(
    text: bytes, path: str, delimiter: str | None, attributes: set[str]
) -> None:
    """Seznam has no delimiter (quirk 15); names with brackets and no quotes (quirk 40)."""
    assert listed(text) == ListedMailbox(path, delimiter, frozenset(attributes))


def test_a_name_may_be_a_literal() -> None:
    row, raw = parse_list([b'() "/" ', b"two\r\nlines"[:3], b""], 0)
    assert (row.path, raw) == ("two", b"two")


def test_xlist_names_the_inbox_by_its_flag() -> None:
    row, raw = parse_xlist([b'(\\HasNoChildren \\Inbox) "/" "Posteingang"'], 0)
    assert (row.path, raw, "\\inbox" in row.attributes) == ("INBOX", b"Posteingang", False)
    assert "\\all" in parse_xlist([b'(\\AllMail) "/" "[Gmail]/Alle"'], 0)[0].attributes


def test_nonexistent_is_not_selectable() -> None:
    """(trap 10)."""
    assert not listed(b'(\\NonExistent) "/" x').selectable
    assert listed(b'() "/" x').selectable


def test_status_says_what_it_was_asked() -> None:
    items = b"MESSAGES 231 UIDNEXT 44292 UNSEEN 0 UIDVALIDITY 4294967295 HIGHESTMODSEQ 7011231777 MAILBOXID (F2)"
    raw, status = parse_status_data([b'"blurdybloop" (' + items + b")"], 0)
    assert raw == b"blurdybloop"
    assert status == MailboxStatus(231, 44292, 4294967295, 0, 7011231777, "F2")


def test_nothing_is_better_than_zero_for_ids() -> None:
    assert parse_status_data([b"x (UIDVALIDITY 0 UIDNEXT 0 HIGHESTMODSEQ 0 MESSAGES 0)"], 0)[1] == MailboxStatus(
        messages=0
    )


def test_an_object_id_may_be_bare_and_a_name_may_have_spaces() -> None:
    """(quirk 37)."""
    raw, status = parse_status_data([b"Sent Items (MAILBOXID F9 MESSAGES)"], 0)
    assert (raw, status) == (b"Sent Items", MailboxStatus(mailbox_id="F9"))


def test_personal_namespaces_are_prefixes() -> None:
    assert parse_personal_namespaces([b'(("INBOX." ".")) NIL (("shared." "."))'], 0) == [b"INBOX."]
    assert parse_personal_namespaces([b"NIL NIL NIL"], 0) == []


@given(st.binary(max_size=60) | st.text(alphabet='()" NIL/\\{}a1&-', max_size=40).map(str.encode))
def test_any_row_is_a_mailbox_or_a_protocol_error(text: bytes) -> None:
    for parse in (parse_list, parse_xlist, parse_status_data, parse_personal_namespaces):
        try:
            parse([text], 0)
        except ProtocolError:
            pass
