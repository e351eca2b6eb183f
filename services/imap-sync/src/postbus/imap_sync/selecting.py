"""SELECT and EXAMINE: what is asked, and what the answer adds up to (RFC 9051, 6.3.2; RFC 7162; RFC 8474)."""

from __future__ import annotations

from dataclasses import dataclass, field

from postbus.common.errors import ProtocolError
from postbus.imap_sync.protocol.fetches import broken_row, parse_row
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.ranges import MAX_SET_CHARS, compose_set, merge
from postbus.imap_sync.protocol.responses import (
    Status,
    Untagged,
    code_number,
    parse_permanent_flags,
    parse_status,
    parse_untagged,
    parse_vanished,
)
from postbus.imap_sync.protocol.values import Fetched, KnownState, Selected, UidRange


def compose_parameters(enabled: frozenset[str], known: KnownState | None) -> str:
    """select-param: `(QRESYNC (1 20 3:5))`, `(CONDSTORE)` or nothing."""
    if known is not None and "QRESYNC" in enabled and known.modseq > 0 and known.uid_validity > 0:
        uids = compose_set(known.uids)
        listed = f" {uids}" if uids and len(uids) <= MAX_SET_CHARS else ""
        return f"(QRESYNC ({known.uid_validity} {known.modseq}{listed}))"
    return "(CONDSTORE)" if "CONDSTORE" in enabled else ""


@dataclass(slots=True)
class SelectAnswer:
    """Collects the untagged responses of a SELECT."""

    path: str
    resyncs: bool = False  # whether rows and VANISHED are answers (RFC 7162, 3.2.5) and not news
    exists: int = 0
    codes: dict[str, Status] = field(default_factory=dict)
    vanished: list[UidRange] = field(default_factory=list)
    changed: list[Fetched] = field(default_factory=list)

    def on_response(self, pieces: Response) -> bool:
        """Take what belongs to the mailbox that is being selected."""
        untagged = parse_untagged(pieces[0])
        if untagged is None or untagged.label in ("BYE", "CAPABILITY"):
            return False
        self._take(untagged, pieces)
        return True

    def selected(self, status: Status, *, read_only: bool) -> Selected:
        """The mailbox as the whole answer describes it."""
        permanent = self.codes.get("PERMANENTFLAGS")
        mailbox_id = self.codes.get("MAILBOXID")
        no_modseq = "NOMODSEQ" in self.codes
        return Selected(
            path=self.path,
            exists=self.exists,
            uid_validity=self._number("UIDVALIDITY"),
            uid_next=self._number("UIDNEXT"),
            highest_modseq=None if no_modseq else self._number("HIGHESTMODSEQ"),
            read_only=read_only or status.code == "READ-ONLY",
            permanent_flags=parse_permanent_flags(permanent) if permanent else None,
            mailbox_id=mailbox_id.argument.strip("() ") or None if mailbox_id else None,
            vanished=merge(self.vanished),
            changed=tuple(self.changed),
        )

    def _take(self, untagged: Untagged, pieces: Response) -> None:
        match untagged.label:
            case "EXISTS":
                self.exists = untagged.number or 0
            case "OK" | "NO":
                self._take_code(pieces)
            case "VANISHED" if self.resyncs:
                self.vanished.extend(parse_vanished(pieces[0][untagged.start :]).ranges)
            case "FETCH" if self.resyncs:
                self._take_row(pieces)

    def _take_code(self, pieces: Response) -> None:
        status = parse_status(pieces[0][2:])
        if status is None or status.code is None:
            return
        if status.code == "CLOSED":  # RFC 7162, 3.2.11: what came before is about the mailbox we leave
            self.exists = 0
            self.codes.clear()
            self.vanished.clear()
            self.changed.clear()
        self.codes[status.code] = status

    def _take_row(self, pieces: Response) -> None:
        try:
            row = parse_row(pieces)
        except ProtocolError:
            row = broken_row(pieces) or Fetched(0)
        if row.uid is not None:
            self.changed.append(row)

    def _number(self, code: str) -> int | None:
        status = self.codes.get(code)
        return code_number(status) if status else None
