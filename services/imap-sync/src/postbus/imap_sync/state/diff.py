"""What became of a mailbox between the index and what the server shows now. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from postbus.imap_sync.protocol.ranges import contains
from postbus.imap_sync.protocol.values import UidRange
from postbus.imap_sync.state.index import Flags, MailboxIndex, canonical


@dataclass(frozen=True, slots=True)
class Row:
    """A message as the server shows it; `modseq` where the answer had one."""

    uid: int
    flags: Flags
    modseq: int | None = None


@dataclass(frozen=True, slots=True)
class FlagChange:
    """A known message whose marks differ."""

    uid: int
    before: Flags
    after: Flags
    modseq: int | None = None


@dataclass(slots=True)
class Diff:
    """Messages that are new, changed, gone; each sorted by uid."""

    new: list[Row] = field(default_factory=list)
    changed: list[FlagChange] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.gone)


def compare(
    index: MailboxIndex,
    rows: Iterable[Row],
    *,
    vanished: Sequence[UidRange] = (),
    complete: Sequence[UidRange] = (),
) -> Diff:
    """Compare rows the server showed with the index.

    `vanished`: sorted ranges that it said are gone; the index may know some of them. `complete`: ranges where the rows
    are all there is: what is known there and was not shown is gone. A uid both shown and vanished is gone: uids are
    never used again (RFC 9051, 2.3.1.1). The chunks of all these uids have to be loaded.
    """
    shown = {row.uid: row for row in rows}
    gone = set(index.uids_in(vanished)) if vanished else set()
    if complete:
        gone.update(uid for uid in index.uids_in(complete) if uid not in shown)
    diff = Diff(gone=sorted(gone))
    for uid in sorted(shown):
        if uid in gone or contains(vanished, uid):
            continue
        row, before = shown[uid], index.get(uid)
        if before is None:
            diff.new.append(row)
        elif row.flags != before and (after := canonical(row.flags)) != before:
            diff.changed.append(FlagChange(uid, before, after, row.modseq))
    return diff
