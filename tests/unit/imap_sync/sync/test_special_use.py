"""Special use: a person's word, then flags (RFC 6154), then names; each use once (contract, section 6)."""

import pytest

from postbus.imap_sync.protocol.values import ListedMailbox
from postbus.imap_sync.special_use import assign_special_use


def listed(path: str, *attributes: str) -> ListedMailbox:
    return ListedMailbox(path, "/", frozenset(attributes))


def test_inbox_is_the_inbox() -> None:
    assert assign_special_use([listed("INBOX")], {})["INBOX"][0] == "\\Inbox"


def test_flags_of_the_server_win_over_names() -> None:
    uses = assign_special_use([listed("Sent"), listed("Outgoing", "\\sent")], {})
    assert uses == {"Outgoing": ("\\Sent", "extension")}


def test_a_persons_word_wins_over_flags() -> None:
    uses = assign_special_use([listed("Sent", "\\sent"), listed("My mail")], {"\\Sent": "My mail"})
    assert uses == {"My mail": ("\\Sent", "user")}


def test_a_hint_to_a_mailbox_that_is_not_there_is_no_hint() -> None:
    assert assign_special_use([listed("Sent", "\\sent")], {"\\Sent": "Gone"}) == {"Sent": ("\\Sent", "extension")}


def test_the_first_mailbox_with_a_flag_has_it() -> None:
    uses = assign_special_use([listed("A", "\\trash"), listed("B", "\\trash")], {})
    assert uses == {"A": ("\\Trash", "extension")}


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("Sent Items", "\\Sent"),
        ("Gesendete Objekte", "\\Sent"),
        ("Éléments envoyés", "\\Sent"),
        ("Корзина", "\\Trash"),
        ("Papierkorb", "\\Trash"),
        ("迷惑メール", "\\Junk"),
        ("Entwürfe", "\\Drafts"),
        ("草稿", "\\Drafts"),
        ("Archiv", "\\Archive"),
    ],
)
def test_localised_names_are_known(name: str, use: str) -> None:
    """Exchange has no SPECIAL-USE (quirk 9)."""
    assert assign_special_use([listed(name)], {}) == {name: (use, "name")}


@pytest.mark.parametrize("name", ["\u200fSent\u200e", "Ｓｅｎｔ", "SENT", "INBOX/Sent"])
def test_decorated_names_are_understood(name: str) -> None:
    """Bidirectional marks and full-width forms are no difference (trap 37, quirk 9)."""
    assert assign_special_use([listed(name)], {})[name] == ("\\Sent", "name")


def test_generic_words_are_left_out_as_a_last_resort() -> None:
    assert assign_special_use([listed("Mail Drafts")], {}) == {"Mail Drafts": ("\\Drafts", "name")}


def test_the_top_level_is_preferred() -> None:
    """(trap 37)."""
    uses = assign_special_use([listed("Old/Sent"), listed("Sent")], {})
    assert uses == {"Sent": ("\\Sent", "name")}


def test_mailboxes_that_can_not_be_selected_have_no_use() -> None:
    """(quirk 33)."""
    assert assign_special_use([listed("Sent", "\\noselect"), listed("Trash", "\\nonexistent")], {}) == {}


def test_all_mail_and_starred_mail_are_only_known_by_flag() -> None:
    uses = assign_special_use([listed("All Mail", "\\all"), listed("Flagged"), listed("X", "\\flagged")], {})
    assert uses == {"All Mail": ("\\All", "extension"), "X": ("\\Flagged", "extension")}
