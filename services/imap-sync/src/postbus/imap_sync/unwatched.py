"""Mailboxes that are listed and not synced: their counters stay current, and nothing is told of their mail."""

from __future__ import annotations

from datetime import datetime

from postbus.common.accounts import AccountRecord, MailboxRecord
from postbus.imap_sync.protocol.values import MailboxStatus
from postbus.imap_sync.state.commit import Commit, MailboxChange
from postbus.imap_sync.state.live import LiveAccount


async def count(live: LiveAccount, record: MailboxRecord, status: MailboxStatus | None) -> None:
    """Note what STATUS told of the mailbox; one that was synced until now loses its index, in silence."""
    left = left_alone(record)
    if status is not None:
        left = left.model_copy(
            update={
                "messages": status.messages or 0,
                "unseen": status.unseen,
                "uid_next": status.uid_next,
                "uid_validity": status.uid_validity,
                "dealt_with": status.uid_next or 0,
            }
        )
    numbered = False
    if left.uid_validity != record.uid_validity or (not record.number and left.uid_validity):
        number, numbered = await live.number(left.uid_validity, record.path)
        left = left.model_copy(update={"number": number})
    if left == record:
        return
    retired = record if left.number != record.number else None
    wiped = record.number if record.synced else None
    await live.defer(Commit([MailboxChange(left.path, left, wiped=wiped, numbered=numbered, retired=retired)]))


def left_alone(record: MailboxRecord) -> MailboxRecord:
    """The row of a mailbox that is not synced any more. Pure.

    Should it be synced again, mail below `dealt_with` is no news.
    """
    if not record.synced:
        return record.model_copy(update={"watched": False})
    known = {"synced": False, "watched": False, "indexed": True, "highest_modseq": None, "late": ""}
    return record.model_copy(update={**known, "dealt_with": record.uid_next or 0})


def new_since(account: AccountRecord, record: MailboxRecord, since: datetime | None) -> datetime | None:
    """From when on mail of a mailbox that is not indexed is new. Pure.

    `since`: when we last looked at which mailboxes there are. What came before a person named a mailbox that was only
    listed until then is no new mail.
    """
    if record.watched or account.path_since is None:
        return since
    return max(moment for moment in (since, account.path_since, account.notify_from) if moment)
