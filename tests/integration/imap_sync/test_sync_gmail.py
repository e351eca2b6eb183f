"""Gmail: All Mail, Spam and Trash are synced, what others call mailboxes are labels, and labels change."""

import pytest

from postbus.common.accounts import Account
from tests.integration.imap_sync.gmail_imap import ALL, JUNK, TRASH, gmail_server
from tests.integration.imap_sync.syncing import System, until, until_true

pytestmark = pytest.mark.anyio

WORK, UMLAUT = b"Work", b'"&AOQ-rger"'


def labels_of(system: System, account: Account) -> list[list[str]]:
    return [event.data.labels for event in system.of(account, "messageNew")]


async def test_all_mail_spam_and_trash_are_synced_and_the_others_are_counted(system: System) -> None:
    await system.start()
    async with gmail_server() as gmail:
        account = await system.connected(port=gmail.port)
        await gmail.put(ALL, 1, b'"\\\\Inbox"', WORK)
        await gmail.put(JUNK, 2)
        await gmail.put(TRASH, 3)
        await gmail.put("Work", 1)
        await system.event(account, "messageNew", 3)
        news = {event.path: event.data for event in system.of(account, "messageNew")}
        assert set(news) == {ALL, JUNK, TRASH}
        told = news[ALL]
        assert (told.labels, told.email_id, told.thread_id) == (["\\Inbox", "Work"], "1", "9")
        assert [news[path].message_special_use for path in (ALL, JUNK, TRASH)] == ["\\Inbox", "\\Junk", "\\Trash"]

        async def counted() -> bool:
            work = await system.mailbox(account, "Work")
            return work is not None and (work.messages, work.synced) == (1, False)

        await until(counted, "the label is counted")
        assert gmail.selected == {ALL, JUNK, TRASH}
        assert not system.repeated()


async def test_labels_are_read_however_they_are_written(system: System) -> None:
    """Modified UTF-7, quoted, literals, a leading tilde, system labels (trap 14) (quirk 11)."""
    await system.start()
    async with gmail_server() as gmail:
        account = await system.connected(port=gmail.port)
        await gmail.put(ALL, 1, b"\\Important", UMLAUT, b"{12}\r\nliteral work", b"~tilde", b'"a\\"b"')
        await system.event(account, "messageNew")
        assert labels_of(system, account) == [["\\Important", "ärger", "literal work", "~tilde", 'a"b']]


async def test_a_change_of_labels_is_told_apart_from_a_change_of_flags(system: System) -> None:
    """Label changes bump MODSEQ; both come in one row, and each is told by its own name (quirk 12)."""
    await system.start()
    async with gmail_server() as gmail:
        account = await system.connected(port=gmail.port)
        mail = await gmail.put(ALL, 1, b'"\\\\Inbox"', WORK)
        await system.event(account, "messageNew")
        await gmail.relabel(mail, WORK, UMLAUT)
        first = (await system.event(account, "messageUpdated")).data.changes
        assert first.flags is None
        assert (first.labels.added, first.labels.deleted) == (["ärger"], ["\\Inbox"])
        assert set(first.labels.value) == {"Work", "ärger"}
        await gmail.relabel(mail, WORK, UMLAUT, flags="\\Seen")
        second = (await system.event(account, "messageUpdated", 2)).data.changes
        assert second.labels is None
        assert (second.flags.added, second.flags.value) == (["\\Seen"], ["\\Seen"])
        await gmail.relabel(mail, flags="\\Seen \\Flagged")
        third = (await system.event(account, "messageUpdated", 3)).data.changes
        assert (third.flags.added, third.labels.value) == (["\\Flagged"], [])
        row = await system.mailbox(account, ALL)
        assert row is not None
        assert (row.messages, row.unseen) == (1, 0)


async def test_labels_survive_a_restart_and_changes_meanwhile_are_told(system: System) -> None:
    first = await system.start()
    async with gmail_server() as gmail:
        account = await system.connected(port=gmail.port)
        changed = await gmail.put(ALL, 1, WORK)
        await gmail.put(ALL, 2, WORK)
        await system.event(account, "messageNew", 2)
        await first.stop()
        await gmail.relabel(changed, UMLAUT)
        await system.start("w2")
        update = await system.event(account, "messageUpdated")
        assert (update.data.uid, update.data.changes.labels.value) == (1, ["ärger"])
        await gmail.put(ALL, 3)
        await system.event(account, "messageNew", 3)
        assert len(system.of(account, "messageUpdated")) == 1


async def test_what_comes_out_of_spam_is_no_new_mail_and_neither_is_what_was_sent(system: System) -> None:
    """The same X-GM-MSGID in another mailbox (quirk 13)."""
    await system.start()
    async with gmail_server() as gmail:
        account = await system.connected(port=gmail.port)
        spam = await gmail.put(JUNK, 1)
        await system.event(account, "messageNew")
        await gmail.remove(JUNK, spam)
        await gmail.put(ALL, 1, b"\\Inbox")
        await gmail.put(ALL, 2, b"\\Sent")
        await gmail.put(ALL, 3, b"\\Sent", b"\\Inbox")
        await system.event(account, "messageNew", 4)
        await system.event(account, "messageDeleted")
        seems = {event.data.email_id: event.data.seems_like_new for event in system.of(account, "messageNew")[1:]}
        assert seems == {"1": False, "2": False, "3": True}


async def test_without_all_mail_it_is_a_server_like_any_other(system: System) -> None:
    """Gmail's users can hide All Mail from IMAP (trap 13)."""
    await system.start()
    async with gmail_server(shown=False) as gmail:
        account = await system.connected(port=gmail.port)
        await gmail.put("INBOX", 1, WORK)
        await gmail.put("Work", 1)
        await until_true(
            lambda: {event.path for event in system.of(account, "messageNew")} == {"INBOX", "Work"}, "both"
        )
        assert {"INBOX", "Work", JUNK, TRASH} == {event.path for event in system.of(account, "mailboxNew")}
