"""From what LIST says to the rows of mailboxes: which are new, which are gone, what changed about the others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from postbus.common.accounts import AccountRecord, MailboxRecord, names
from postbus.imap_sync.listing import SUBSCRIBED
from postbus.imap_sync.protocol.values import ListedMailbox, MailboxStatus
from postbus.imap_sync.special_use import assign_special_use

GMAIL_WATCHED = ("\\All", "\\Junk", "\\Trash")  # All Mail has everything but the other two
MAX_AT_ONCE = 2_000  # mailboxes that are compared on the event loop: 0.1 s; a server may list 50,000
_KEPT_ATTRIBUTES = {"\\noinferiors": "\\Noinferiors", "\\haschildren": "\\HasChildren", "\\marked": "\\Marked"}


@dataclass(slots=True)
class ListingPlan:
    """New rows (without numbers yet), rows that differ, rows that are gone, and the status of each mailbox, if told."""

    new: list[MailboxRecord] = field(default_factory=list)
    changed: list[MailboxRecord] = field(default_factory=list)
    gone: list[MailboxRecord] = field(default_factory=list)
    statuses: dict[str, MailboxStatus] = field(default_factory=dict)


def plan_listing(
    known: Mapping[str, MailboxRecord],
    listed: Sequence[ListedMailbox],
    record: AccountRecord,
    *,
    complete: bool = True,
) -> ListingPlan:
    """Compare the stored rows with a listing that is not empty; where it is not complete either, nothing is gone.

    Pure.
    """
    plan = ListingPlan()
    hints = record.imap.special_use_hints if record.imap else {}
    uses = assign_special_use(listed, hints)
    shown = {mailbox.path: mailbox for mailbox in listed if mailbox.selectable}
    for path, mailbox in shown.items():
        use, source = uses.get(path, (None, None))
        facts = {
            "delimiter": mailbox.delimiter,
            "special_use": use,
            "special_use_source": source,
            "flags": tuple(_KEPT_ATTRIBUTES[name] for name in sorted(mailbox.attributes & _KEPT_ATTRIBUTES.keys())),
            "subscribed": SUBSCRIBED in mailbox.attributes,
        }
        if mailbox.status is not None:
            plan.statuses[path] = mailbox.status
        before = known.get(path)
        if before is None:
            plan.new.append(MailboxRecord.model_validate({"number": 0, "path": path, **facts}))
        elif (after := before.model_copy(update=facts)) != before:
            plan.changed.append(after)
    plan.gone = [row for path, row in known.items() if path not in shown] if complete else []
    return plan


async def plan_any_listing(
    known: Mapping[str, MailboxRecord],
    listed: Sequence[ListedMailbox],
    record: AccountRecord,
    *,
    complete: bool = True,
) -> ListingPlan:
    """The same, in a thread where it takes long: nobody else is to wait for it."""
    if len(listed) <= MAX_AT_ONCE:
        return plan_listing(known, listed, record, complete=complete)
    return await asyncio.to_thread(plan_listing, known, listed, record, complete=complete)


def is_gmail(capabilities: frozenset[str], rows: Sequence[MailboxRecord]) -> bool:
    """Whether this is Gmail with All Mail shown; a user can hide it, and then it is a server like others."""
    return "X-GM-EXT-1" in capabilities and any(row.special_use == "\\All" for row in rows)


def watched(rows: Sequence[MailboxRecord], record: AccountRecord, *, gmail: bool) -> list[MailboxRecord]:
    """The mailboxes that are synced, the one to IDLE on first."""
    chosen = [row for row in rows if record.watches(row.path, row.special_use)]
    if gmail and (takes_all(record) or any(row.special_use == "\\All" for row in chosen)):
        chosen = [row for row in chosen if row.special_use in GMAIL_WATCHED]
    return sorted(chosen, key=lambda row: (_rank(row, record, gmail=gmail), row.path))


def takes_all(record: AccountRecord) -> bool:
    """Whether no mailbox is named."""
    return "*" in record.path or not record.path


def _rank(row: MailboxRecord, record: AccountRecord, *, gmail: bool) -> int:
    """INBOX (on Gmail All Mail) first; where mailboxes are named, the first of them."""
    if takes_all(record):
        return 0 if row.special_use == ("\\All" if gmail else "\\Inbox") else 1
    places = (at for at, name in enumerate(record.path) if names(name, row.path, row.special_use))
    return next(places, len(record.path))
