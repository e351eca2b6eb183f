"""GETQUOTAROOT and GETQUOTA (RFC 9208, 4.2 and 4.3): what a user may store."""

from __future__ import annotations

from typing import Final

from postbus.common.errors import CommandRefused
from postbus.imap_sync.protocol.arguments import Argument, astring
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.quota import parse_quota, parse_quota_roots
from postbus.imap_sync.protocol.responses import parse_untagged
from postbus.imap_sync.protocol.values import Quota
from postbus.imap_sync.wire import Wire

MAX_ROOTS: Final = 5  # that are asked for one by one


async def fetch_quota(wire: Wire, mailbox: Argument) -> Quota | None:
    """The first limit of storage that a mailbox belongs to; None where there is none. CommandRefused.

    quirk_roots_only: some servers name the roots and leave it to us to ask for each.
    """
    answer = _Answer()
    await wire.run("GETQUOTAROOT", mailbox, on_response=answer.on_response)
    if answer.told:
        return answer.quota
    for root in answer.roots[:MAX_ROOTS]:
        try:
            await wire.run("GETQUOTA", astring(root), on_response=answer.on_response)
        except CommandRefused:
            continue
        if answer.quota is not None:
            break
    return answer.quota


class _Answer:
    def __init__(self) -> None:
        self.quota: Quota | None = None
        self.told = False  # whether there was any QUOTA
        self.roots: list[bytes] = []

    def on_response(self, pieces: Response) -> bool:
        untagged = parse_untagged(pieces[0])
        if untagged is None or untagged.label not in ("QUOTA", "QUOTAROOT"):
            return False
        if untagged.label == "QUOTA":
            self.told = True
            self.quota = self.quota or parse_quota(pieces, untagged.start)
        else:
            self.roots += parse_quota_roots(pieces, untagged.start)
        return True
