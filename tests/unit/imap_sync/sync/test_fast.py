"""What the fast indexer looks at, and what it leaves alone."""

from dataclasses import replace

import pytest

from postbus.common.accounts import AccountRecord, MailboxRecord
from postbus.imap_sync.build import Reason, reason_of
from postbus.imap_sync.fast import counted, is_fast, needs_fast_pass
from postbus.imap_sync.protocol.values import MailboxStatus

ROW = MailboxRecord(number=1, path="INBOX", synced=True, indexed=False, uid_validity=7, uid_next=10, messages=3)


def status(**values: int | None) -> MailboxStatus:
    return replace(MailboxStatus(messages=3, uid_next=10, uid_validity=7, unseen=1), **values)  # type: ignore[arg-type]


def test_only_new_mail_and_another_uid_validity_are_looked_at() -> None:
    assert not needs_fast_pass(ROW, status())
    assert not needs_fast_pass(ROW, status(messages=1, unseen=0))
    assert needs_fast_pass(ROW, status(uid_next=11))
    assert needs_fast_pass(ROW, status(uid_validity=8))


@pytest.mark.parametrize("change", [{"late": "9"}, {"synced": False}, {"indexed": True}])
def test_what_is_unfinished_is_looked_at(change: dict[str, object]) -> None:
    assert needs_fast_pass(ROW.model_copy(update=change), status())


def test_without_uid_next_nobody_knows_and_so_it_is_looked_at() -> None:
    """(trap 19)"""
    assert needs_fast_pass(ROW, status(uid_next=None))
    assert not needs_fast_pass(ROW, status(uid_validity=None))


def test_counters_follow_the_server() -> None:
    row = counted(ROW, status(messages=1, unseen=0))
    assert (row.messages, row.unseen, row.uid_next) == (1, 0, 10)


def test_an_account_is_indexed_in_full_unless_it_says_otherwise() -> None:
    assert not is_fast(AccountRecord(account="a"))
    assert is_fast(AccountRecord(account="a", imap_indexer="fast"))


def test_only_a_loss_is_told_as_one() -> None:
    new = MailboxRecord(number=1, path="Work")
    assert reason_of(new, lost=False) is Reason.NEW
    assert reason_of(new, lost=True) is Reason.LOST
    known = new.model_copy(update={"version": 4})
    assert reason_of(known, lost=False) is Reason.LOST
    assert reason_of(known.model_copy(update={"watched": False}), lost=False) is Reason.ANEW
