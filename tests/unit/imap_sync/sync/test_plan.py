"""Which way the index of a mailbox catches up, and whether there is anything to catch up with (RFC 7162)."""

from typing import Any

import pytest

from postbus.common.accounts import MailboxRecord
from postbus.imap_sync.plan import Route, compare_gap_s, has_to_compare, known_state, needs_pass, plan_pass
from postbus.imap_sync.protocol.values import KnownState, MailboxStatus, Selected

BOTH = frozenset({"QRESYNC", "CONDSTORE"})
RECORD = MailboxRecord(
    number=1, path="INBOX", synced=True, uid_validity=7, uid_next=20, highest_modseq=100, messages=9, unseen=2
)
STATUS = MailboxStatus(messages=9, uid_next=20, uid_validity=7, unseen=2, highest_modseq=100)


def record(**changes: Any) -> MailboxRecord:
    return RECORD.model_copy(update=changes)


def selected(**changes: Any) -> Selected:
    return Selected(
        **{"path": "INBOX", "exists": 9, "uid_validity": 7, "uid_next": 20, "highest_modseq": 100, **changes}
    )


def test_nothing_is_done_where_the_status_is_what_is_known() -> None:
    assert not needs_pass(RECORD, STATUS, condstore=True)
    assert not needs_pass(RECORD, STATUS, condstore=False)


@pytest.mark.parametrize(
    "status",
    [
        MailboxStatus(10, 20, 7, 2, 100),
        MailboxStatus(9, 21, 7, 2, 100),
        MailboxStatus(9, 20, 8, 2, 100),
        MailboxStatus(9, 20, 7, 2, 101),
    ],
    ids=["messages", "uid_next", "uid_validity", "modseq"],
)
def test_any_difference_in_the_status_needs_a_pass(status: MailboxStatus) -> None:
    assert needs_pass(RECORD, status, condstore=True)


def test_an_expunge_and_an_arrival_that_leave_the_count_equal_are_noticed() -> None:
    assert needs_pass(RECORD, MailboxStatus(9, 21, 7, 2, None), condstore=False)


def test_without_modseq_a_different_number_of_unseen_needs_a_pass() -> None:
    assert needs_pass(RECORD, MailboxStatus(9, 20, 7, 3, None), condstore=False)


def test_mail_that_waits_to_be_announced_needs_a_pass() -> None:
    assert needs_pass(record(late="4:5"), STATUS, condstore=True)


def test_a_mailbox_that_was_never_synced_is_built() -> None:
    assert needs_pass(record(synced=False), STATUS, condstore=True)
    assert plan_pass(record(synced=False), selected(), enabled=BOTH) is Route.BUILD


def test_another_uid_validity_resets() -> None:
    assert plan_pass(RECORD, selected(uid_validity=8), enabled=BOTH) is Route.RESET


@pytest.mark.parametrize(
    ("enabled", "route"),
    [(BOTH, Route.QRESYNC), (frozenset({"CONDSTORE"}), Route.CONDSTORE), (frozenset[str](), Route.PLAIN)],
)
def test_the_best_of_what_the_server_has_is_used(enabled: frozenset[str], route: Route) -> None:
    assert plan_pass(RECORD, selected(), enabled=enabled) is route


@pytest.mark.parametrize("modseq", [None, 99])
def test_without_modseq_or_with_one_that_went_back_everything_is_looked_at(modseq: int | None) -> None:
    assert plan_pass(RECORD, selected(highest_modseq=modseq), enabled=BOTH) is Route.PLAIN


def test_the_state_of_an_old_select_does_not_look_like_going_back() -> None:
    assert plan_pass(RECORD, selected(highest_modseq=50), enabled=BOTH, fresh=False) is Route.QRESYNC


def test_a_modseq_is_only_stored_after_all_flags_were_seen() -> None:
    assert has_to_compare(selected(), enabled=BOTH)
    assert not has_to_compare(selected(highest_modseq=None), enabled=BOTH)
    assert not has_to_compare(selected(), enabled=frozenset())


def test_qresync_is_told_what_is_known() -> None:
    assert known_state(RECORD) == KnownState(7, 100)
    for unknown in (record(synced=False), record(highest_modseq=None), record(uid_validity=None)):
        assert known_state(unknown) is None


def test_large_mailboxes_are_compared_less_often() -> None:
    assert compare_gap_s(0) == 0
    assert compare_gap_s(100) < compare_gap_s(50_000) < compare_gap_s(10_000_000) == 900
