"""`seemsLikeNew`: a message that appears is new mail, or was moved here, or is a person's own."""

from datetime import UTC, datetime, timedelta

import pytest

from postbus.common.accounts import MailboxRecord
from postbus.imap_sync.new_mail import seems_new
from postbus.imap_sync.protocol.values import Fetched

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
INBOX = MailboxRecord(number=1, path="INBOX", special_use="\\Inbox")


@pytest.mark.parametrize(
    ("age", "new"), [(timedelta(0), True), (timedelta(hours=23), True), (timedelta(days=2), False)]
)
def test_a_message_that_was_received_days_ago_was_moved_here(age: timedelta, new: bool) -> None:
    assert seems_new(Fetched(1, 1, internal_date=NOW - age), INBOX, NOW) is new


def test_without_a_date_a_message_counts_as_new() -> None:
    assert seems_new(Fetched(1, 1), INBOX, NOW)


@pytest.mark.parametrize("use", ["\\Sent", "\\Drafts"])
def test_nothing_is_received_in_sent_and_drafts(use: str) -> None:
    assert not seems_new(Fetched(1, 1, internal_date=NOW), INBOX.model_copy(update={"special_use": use}), NOW)


def test_a_draft_is_not_new_mail() -> None:
    assert not seems_new(Fetched(1, 1, flags=("\\Draft",), internal_date=NOW), INBOX, NOW)
