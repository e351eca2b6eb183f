"""Opening a mailbox for the sync: always read-only, with a UIDVALIDITY, and not again where it ends the connection."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import structlog

from postbus.common.accounts import MailboxRecord
from postbus.common.errors import CommandRefused, ProtocolError
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.plan import known_state
from postbus.imap_sync.protocol.values import Selected

log = structlog.get_logger()

MAX_STRIKES = 2
FIRST_BAR_S, LONGEST_BAR_S = 60.0, 3600.0


@dataclass(slots=True)
class Suspects:
    """Mailboxes whose SELECT ended the connection (some servers do so where they can't open one). Outlives those."""

    opening: str | None = None
    strikes: dict[str, tuple[int, float]] = field(default_factory=dict)  # how often, and when the last time

    def begin(self, path: str, now: float) -> None:
        """It is selected next; CommandRefused while that has to be left."""
        if self.opening is not None:
            strikes = self.strikes.get(self.opening, (0, now))[0] + 1
            self.strikes[self.opening] = (strikes, now)
            log.warning("mailbox ends the connection", path=self.opening, strikes=strikes)
            self.opening = None
        if now < self._barred_until(path):
            raise CommandRefused("The server ends the connection when this mailbox is selected")
        self.opening = path

    def survived(self, path: str, *, opened: bool) -> None:
        """The server answered."""
        self.opening = None
        if opened:
            self.strikes.pop(path, None)

    def _barred_until(self, path: str) -> float:
        strikes, at = self.strikes.get(path, (0, 0.0))
        if strikes < MAX_STRIKES:
            return 0.0
        return at + min(FIRST_BAR_S * 2.0 ** min(strikes - MAX_STRIKES, 9), LONGEST_BAR_S)


async def open_mailbox(connection: ImapConnection, record: MailboxRecord, suspects: Suspects) -> Selected:
    """Select it. CommandRefused where that can't be; ProtocolError `NoUidValidity`: its uids mean nothing."""
    suspects.begin(record.path, time.monotonic())
    try:
        selected = await connection.select(record.path, known=known_state(record), read_only=True)
    except CommandRefused:
        suspects.survived(record.path, opened=False)
        raise
    suspects.survived(record.path, opened=True)
    return await with_validity(connection, selected, record)


async def with_validity(
    connection: ImapConnection, selected: Selected, record: MailboxRecord, *, fresh: bool = True
) -> Selected:
    """quirk_no_uid_validity: SELECT did not tell, STATUS may. While it stays selected it is what it was."""
    if selected.uid_validity is not None:
        return selected
    validity = None if fresh else record.uid_validity
    if validity is None:
        validity = (await connection.status(record.path)).uid_validity
    if validity is None:
        raise ProtocolError("the server gives no UIDVALIDITY", code="NoUidValidity")
    return replace(selected, uid_validity=validity)
