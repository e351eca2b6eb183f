"""Which mailboxes get a connection of their own (contract, 4: `subconnections`)."""

from postbus.common.accounts import DisabledSubconnection, MailboxRecord
from postbus.imap_sync.subconnections import SubconnectionPlan, dump_disabled, plan_subconnections


def row(path: str, use: str | None = None) -> MailboxRecord:
    return MailboxRecord(number=1, path=path, special_use=use)


INBOX, SENT, WORK, ALL = row("INBOX", "\\Inbox"), row("Out", "\\Sent"), row("Work"), row("All Mail", "\\All")


def plan(*wanted: str, synced: list[MailboxRecord] | None = None, connections: int = 8) -> SubconnectionPlan:
    rows = [SENT, INBOX, WORK, ALL]
    chosen = [INBOX, SENT, WORK, ALL] if synced is None else synced
    gmail = synced is not None and ALL in synced
    return plan_subconnections(wanted, rows, chosen, gmail=gmail, connections=connections)


def reasons(planned: SubconnectionPlan) -> dict[str, str]:
    return {note.path: note.reason for note in planned.disabled}


def test_paths_and_special_uses_are_accepted_in_their_order() -> None:
    planned = plan("Work", "\\sent")
    assert planned.paths == ("Work", "Out")
    assert not planned.disabled


def test_what_the_main_connection_watches_needs_no_other() -> None:
    planned = plan("inbox", "Work")
    assert planned.paths == ("Work",)
    assert reasons(planned) == {"inbox": "the main connection watches it already"}


def test_what_all_mail_holds_needs_no_other() -> None:
    planned = plan("Work", "\\Inbox", "\\All", synced=[ALL])
    assert planned.paths == ()
    assert reasons(planned) == {
        "Work": "All Mail covers it already",
        "\\Inbox": "All Mail covers it already",
        "\\All": "the main connection watches it already",
    }


def test_a_mailbox_that_is_not_there_or_not_synced_gets_none() -> None:
    planned = plan("Nowhere", "Work", synced=[INBOX, SENT])
    assert planned.paths == ()
    assert reasons(planned) == {
        "Nowhere": "there is no such mailbox",
        "Work": "it is not one of the mailboxes that are synced",
    }


def test_one_mailbox_gets_one_connection_however_often_it_is_named() -> None:
    planned = plan("Out", "\\Sent")
    assert planned.paths == ("Out",)
    assert reasons(planned) == {"\\Sent": "it is named twice"}


def test_a_command_and_a_download_always_find_a_connection() -> None:
    """(trap 41)"""
    planned = plan("Work", "Out", "All Mail", connections=5)
    assert planned.paths == ("Work", "Out")
    assert reasons(planned) == {"All Mail": "the connections of the account are used up"}


def test_reasons_are_stored_as_the_account_reads_them() -> None:
    assert dump_disabled(()) is None
    note = DisabledSubconnection(path="ä", reason="why")
    assert dump_disabled((note,)) == '[{"path": "\\u00e4", "reason": "why"}]'
