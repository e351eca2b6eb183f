"""From LIST to rows: what is new, what is gone, what is watched."""

import threading
from typing import Any

import pytest

from postbus.common.accounts import AccountRecord, MailboxRecord
from postbus.imap_sync import listed as listed_module
from postbus.imap_sync.listed import (
    MAX_AT_ONCE,
    ListingPlan,
    is_gmail,
    plan_any_listing,
    plan_listing,
    watched,
)
from postbus.imap_sync.protocol.values import ListedMailbox, MailboxStatus

ACCOUNT = AccountRecord(account="a")


def listed(path: str, *attributes: str, status: MailboxStatus | None = None) -> ListedMailbox:
    return ListedMailbox(path, "/", frozenset(attributes), status)


def row(path: str, **values: Any) -> MailboxRecord:
    return MailboxRecord.model_validate({"number": 1, "path": path, "delimiter": "/", "subscribed": False} | values)


def test_a_listing_tells_what_is_new_and_what_is_gone() -> None:
    plan = plan_listing({"Old": row("Old")}, [listed("INBOX"), listed("Old Work")], ACCOUNT)
    assert [new.path for new in plan.new] == ["INBOX", "Old Work"]
    assert [gone.path for gone in plan.gone] == ["Old"]


def test_nothing_is_gone_from_a_listing_with_rows_that_could_not_be_read() -> None:
    assert not plan_listing({"Old": row("Old")}, [listed("INBOX")], ACCOUNT, complete=False).gone


def test_an_unchanged_mailbox_is_left_alone() -> None:
    plan = plan_listing({"Work": row("Work", messages=5, uid_validity=3)}, [listed("Work")], ACCOUNT)
    assert not plan.new
    assert not plan.changed
    assert not plan.gone


def test_a_changed_fact_keeps_the_state_of_the_index() -> None:
    plan = plan_listing({"Work": row("Work", messages=5)}, [listed("Work", "\\subscribed", "\\sent")], ACCOUNT)
    [changed] = plan.changed
    assert (changed.messages, changed.subscribed, changed.special_use) == (5, True, "\\Sent")


def test_hidden_mailboxes_are_not_listed() -> None:
    plan = plan_listing({}, [listed("A", "\\noselect"), listed("B", "\\nonexistent"), listed("C")], ACCOUNT)
    assert [new.path for new in plan.new] == ["C"]


def test_statuses_come_along() -> None:
    status = MailboxStatus(1, 2, 3, 4)
    assert plan_listing({}, [listed("A", status=status)], ACCOUNT).statuses == {"A": status}


def test_all_mailboxes_are_watched_inbox_first() -> None:
    rows = [row("A"), row("INBOX", special_use="\\Inbox"), row("B")]
    assert [found.path for found in watched(rows, ACCOUNT, gmail=False)] == ["INBOX", "A", "B"]


def test_only_the_mailboxes_that_a_person_named_are_watched_in_his_order() -> None:
    rows = [row("A"), row("INBOX", special_use="\\Inbox"), row("Out", special_use="\\Sent")]
    account = AccountRecord(account="a", path=("\\Sent", "INBOX"))
    assert [found.path for found in watched(rows, account, gmail=False)] == ["Out", "INBOX"]


def test_on_gmail_all_mail_is_watched_with_spam_and_trash() -> None:
    rows = [
        row("INBOX", special_use="\\Inbox"),
        row("[Gmail]/Trash", special_use="\\Trash"),
        row("[Gmail]/All Mail", special_use="\\All"),
        row("Label"),
    ]
    assert is_gmail(frozenset({"X-GM-EXT-1"}), rows)
    assert [found.path for found in watched(rows, ACCOUNT, gmail=True)] == ["[Gmail]/All Mail", "[Gmail]/Trash"]


def test_gmail_with_all_mail_hidden_is_a_server_like_others() -> None:
    assert not is_gmail(frozenset({"X-GM-EXT-1"}), [row("INBOX")])
    assert not is_gmail(frozenset(), [row("All", special_use="\\All")])


def test_on_gmail_a_named_mailbox_is_synced_by_itself_unless_all_mail_has_it_already() -> None:
    rows = [row("INBOX", special_use="\\Inbox"), row("[Gmail]/All Mail", special_use="\\All"), row("Label")]
    named = AccountRecord(account="a", path=("Label", "inbox"))
    assert [found.path for found in watched(rows, named, gmail=True)] == ["Label", "INBOX"]
    both = AccountRecord(account="a", path=("INBOX", "\\all"))
    assert [found.path for found in watched(rows, both, gmail=True)] == ["[Gmail]/All Mail"]


@pytest.mark.anyio
@pytest.mark.parametrize(("mailboxes", "beside"), [(MAX_AT_ONCE, False), (MAX_AT_ONCE + 1, True)])
async def test_a_long_listing_is_compared_beside_the_event_loop(
    mailboxes: int, beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def noted(*args: Any, **options: Any) -> ListingPlan:
        threads.append(threading.current_thread())
        return plan_listing(*args, **options)

    monkeypatch.setattr(listed_module, "plan_listing", noted)
    rows = [listed(f"Box {number}") for number in range(mailboxes)]
    assert await plan_any_listing({}, rows, ACCOUNT) == plan_listing({}, rows, ACCOUNT)
    assert (threads[0] is not threading.current_thread()) == beside
