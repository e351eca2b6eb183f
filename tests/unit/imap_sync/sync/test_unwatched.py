"""Mailboxes that are only listed: what is kept of them, and what is new once they are synced."""

from datetime import UTC, datetime, timedelta

from postbus.common.accounts import AccountRecord, MailboxRecord
from postbus.imap_sync.unwatched import left_alone, new_since

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SYNCED = MailboxRecord(
    number=3, path="Work", synced=True, uid_validity=7, uid_next=41, highest_modseq=99, messages=12, late="40"
)


def test_a_mailbox_that_is_not_synced_any_more_keeps_its_number_and_where_new_mail_begins() -> None:
    left = left_alone(SYNCED)
    assert (left.number, left.uid_validity, left.dealt_with) == (3, 7, 41)
    assert (left.synced, left.watched, left.highest_modseq, left.late) == (False, False, None, "")


def test_leaving_it_alone_twice_changes_nothing_more() -> None:
    left = left_alone(SYNCED)
    assert left_alone(left) == left


def test_what_came_before_a_mailbox_was_named_is_no_new_mail() -> None:
    named = AccountRecord(account="a", path=("Work",), path_since=NOON)
    assert new_since(named, left_alone(SYNCED), NOON - HOUR) == NOON
    assert new_since(named, left_alone(SYNCED), None) == NOON


def test_notify_from_counts_for_a_named_mailbox_too() -> None:
    named = AccountRecord(account="a", path=("Work",), path_since=NOON, notify_from=NOON + HOUR)
    assert new_since(named, left_alone(SYNCED), None) == NOON + HOUR


def test_of_a_mailbox_that_always_was_to_be_synced_everything_since_the_last_look_is_new() -> None:
    named = AccountRecord(account="a", path=("*",), path_since=NOON)
    assert new_since(named, MailboxRecord(number=1, path="New"), NOON - HOUR) == NOON - HOUR
    assert new_since(named, MailboxRecord(number=1, path="New"), None) is None
