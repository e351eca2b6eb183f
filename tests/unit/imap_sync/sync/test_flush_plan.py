"""What a flush makes of the record of an account and of the rows of its mailboxes."""

from datetime import timedelta

from postbus.common.accounts import AccountRecord, MailboxRecord
from postbus.common.commands import FlushAccount
from postbus.common.times import now
from postbus.imap_sync.state.flush import OVERLAP, flushed_record, flushed_row, tells_again

AT = now()
RECORD = AccountRecord(account="a", notify_from=AT - timedelta(days=9))
FROM_NOW = FlushAccount(account="a", flush_id="f")
ROW = MailboxRecord(number=3, path="INBOX", synced=True, uid_validity=7, uid_next=50, highest_modseq=9, messages=40)


def test_from_now_on_begins_where_the_last_look_ended() -> None:
    looked = AT - timedelta(minutes=4)
    assert flushed_record(RECORD, FROM_NOW, listed_at=looked, at=AT).notify_from == looked - OVERLAP


def test_from_now_on_is_now_for_an_account_that_was_not_looked_at_for_long() -> None:
    for looked in (None, AT - timedelta(hours=2)):
        assert flushed_record(RECORD, FROM_NOW, listed_at=looked, at=AT).notify_from == AT


def test_mail_before_the_registration_stays_silent() -> None:
    young = RECORD.model_copy(update={"notify_from": AT - timedelta(seconds=3)})
    for looked in (None, AT - timedelta(seconds=1)):
        assert flushed_record(young, FROM_NOW, listed_at=looked, at=AT).notify_from == young.notify_from


def test_a_date_that_is_given_counts() -> None:
    since = AT - timedelta(days=2)
    command = FlushAccount(account="a", flush_id="f", from_now=False, notify_from=since, imap_indexer="fast")
    record = flushed_record(RECORD, command, listed_at=AT, at=AT)
    assert (record.notify_from, record.imap_indexer) == (since, "fast")
    assert tells_again(command)
    assert flushed_row(ROW, again=True).dealt_with == 0


def test_a_row_remembers_what_was_dealt_with_and_keeps_its_number() -> None:
    row = flushed_row(ROW.model_copy(update={"late": "48"}), again=False)
    assert (row.number, row.uid_validity, row.late) == (3, 7, "48")
    assert (row.synced, row.messages, row.highest_modseq, row.dealt_with) == (False, 0, None, 50)
    assert flushed_row(row, again=False).dealt_with == 50  # flushed again before it was indexed
