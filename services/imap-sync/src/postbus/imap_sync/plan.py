"""What to do about a mailbox, decided from what is known of it and what the server says now. Pure.

RFC 7162 (CONDSTORE, QRESYNC) where the server has it; RFC 4549, 4.3 for those that have neither.
"""

from __future__ import annotations

from enum import StrEnum

from postbus.common.accounts import MailboxRecord
from postbus.imap_sync.protocol.values import KnownState, MailboxStatus, Selected

COMPARED_PER_S = 1_000  # messages; a plain compare of more of them waits its turn
LONGEST_COMPARE_GAP_S = 900.0


class Route(StrEnum):
    """How the index catches up with the server."""

    BUILD = "build"  # index everything in silence: it was never synced
    RESET = "reset"  # the same, because the uids lost their meaning
    QRESYNC = "qresync"  # SELECT or FETCH told what changed and what vanished
    CONDSTORE = "condstore"  # FETCH tells what changed; what vanished shows in the count
    PLAIN = "plain"  # look at uids and flags


def needs_pass(record: MailboxRecord, status: MailboxStatus, *, condstore: bool) -> bool:
    """Whether STATUS differs from what the index reflects.

    Without HIGHESTMODSEQ equal numbers do not prove equal flags: a compare at longer intervals finds those.
    """
    if not record.synced or record.late:
        return True
    if status.uid_validity not in (None, record.uid_validity) or status.messages != record.messages:
        return True
    if status.uid_next is not None and status.uid_next != record.uid_next:
        return True
    if condstore and status.highest_modseq is not None:
        return status.highest_modseq != record.highest_modseq
    return status.unseen is not None and status.unseen != record.unseen


def known_state(record: MailboxRecord) -> KnownState | None:
    """What SELECT (QRESYNC ...) is told; None where nothing is known that it could go on from."""
    if not record.synced or not record.uid_validity or not record.highest_modseq:
        return None
    return KnownState(record.uid_validity, record.highest_modseq)


def plan_pass(record: MailboxRecord, selected: Selected, *, enabled: frozenset[str], fresh: bool = True) -> Route:
    """The route for a mailbox that is selected, `fresh` if just now. `selected` has a UIDVALIDITY."""
    if not record.synced:
        return Route.BUILD
    if selected.uid_validity != record.uid_validity:
        return Route.RESET
    known, now = record.highest_modseq, selected.highest_modseq
    if known is None or now is None or (fresh and now < known) or not enabled:
        return Route.PLAIN  # NOMODSEQ, or a server that went back in time
    return Route.QRESYNC if "QRESYNC" in enabled else Route.CONDSTORE


def has_to_compare(selected: Selected, *, enabled: frozenset[str]) -> bool:
    """Whether the plain route has to look at all flags: it will store a HIGHESTMODSEQ that later passes rely on."""
    return bool(enabled) and selected.highest_modseq is not None


def compare_gap_s(messages: int) -> float:
    """How long after a plain compare of all flags the next one may run: seconds, by the size of the mailbox."""
    return min(messages / COMPARED_PER_S, LONGEST_COMPARE_GAP_S)
