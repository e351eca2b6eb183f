"""Accounts and mailboxes as they are stored."""

from dataclasses import replace
from uuid import uuid4

import pytest

from postbus.common.accounts import Account, AccountRecord, ImapSettings, MailboxRecord, SmtpSettings

IMAP = ImapSettings(host="imap.example.com", port=993, secure=True, sent_mail_path="Gesendet")


def record(**fields: object) -> AccountRecord:
    return AccountRecord.model_validate({"account": "a", **fields})


def test_a_record_reads_back_and_ignores_what_a_newer_version_wrote() -> None:
    stored = AccountRecord(account="a/ü", imap=IMAP, smtp=SmtpSettings(host="s", port=25)).model_dump_json(
        by_alias=True
    )
    newer = stored.replace('"account"', '"notKnownYet":{"x":1},"account"', 1)
    assert AccountRecord.model_validate_json(newer) == AccountRecord.model_validate_json(stored)
    assert "sentMailPath" in stored


@pytest.mark.parametrize(
    ("watched", "path", "special_use", "expected"),
    [
        (("*",), "Anything", None, True),
        ((), "Anything", None, True),
        (("INBOX",), "INBOX", None, True),
        (("INBOX",), "Sent", "\\Sent", False),
        (("INBOX", "\\Sent"), "Gesendet", "\\Sent", True),
        (("\\Sent",), "Other", None, False),
        (("\\sENT",), "Gesendet", "\\Sent", True),
        (("inbox",), "INBOX", "\\Inbox", True),
        (("\\All",), "[Gmail]/All Mail", "\\All", True),
        (("sent",), "Sent", "\\Sent", False),
        (("INBOX", "*"), "Anything", None, True),
    ],
)
def test_the_mailboxes_to_watch_are_named_by_path_or_special_use(
    watched: tuple[str, ...], path: str, special_use: str | None, expected: bool
) -> None:
    assert record(path=watched).watches(path, special_use) is expected


def test_an_account_syncs_unless_it_has_no_imap_or_it_is_disabled() -> None:
    assert record(imap=IMAP).syncs
    assert not record().syncs
    assert not record(imap={"host": "h", "port": 143, "disabled": True}).syncs


def test_the_servers_of_an_account_are_found_by_protocol() -> None:
    account = record(imap=IMAP, smtp={"host": "s", "port": 25})
    assert account.server("imap") == IMAP
    assert account.server("smtp") == SmtpSettings(host="s", port=25)


def test_paths_that_a_person_decided_are_special_use_hints() -> None:
    assert IMAP.special_use_hints == {"\\Sent": "Gesendet"}


@pytest.mark.parametrize(
    ("path", "delimiter", "name"),
    [("INBOX", "/", "INBOX"), ("a/b/c", "/", "c"), ("a/b", None, "a/b"), ("a.b", ".", "b")],
)
def test_the_name_of_a_mailbox_is_the_last_segment(path: str, delimiter: str | None, name: str) -> None:
    assert MailboxRecord(number=1, path=path, delimiter=delimiter).name == name


def test_a_flush_does_not_change_the_life_that_submissions_belong_to() -> None:
    """So what is told of them twice, before and after it, has one id."""
    account = Account("a", record(), uuid4(), 1)
    account = replace(account, born_as=str(account.generation))
    assert replace(account, generation=uuid4()).birth == account.birth == account.generation
    assert replace(account, born_as=None).birth == account.generation
