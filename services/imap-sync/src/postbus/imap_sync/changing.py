"""STORE, COPY, MOVE and EXPUNGE of messages in the selected mailbox (RFC 9051, 6.4; RFC 4315; RFC 6851)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from postbus.common.errors import CommandRefused
from postbus.imap_sync.protocol.arguments import Argument, mailbox, text
from postbus.imap_sync.protocol.fetches import is_row
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.ranges import compose_set, count, merge, split
from postbus.imap_sync.protocol.responses import parse_copy_uid, parse_status, refusal
from postbus.imap_sync.protocol.values import Copied, UidRange
from postbus.imap_sync.wire import LONG_S, Wire

COPY_S: Final = 120.0  # between two signs of life: servers copy a large mailbox without a word

_SYSTEM_LABEL = re.compile(r"\\[A-Za-z]{1,64}")


def compose_labels(labels: Sequence[str]) -> list[Argument]:
    """Labels of Gmail for STORE: system labels (`\\Inbox`) as they are, others as names in modified UTF-7."""
    named = [label if _SYSTEM_LABEL.fullmatch(label) else mailbox(label) for label in labels]
    return ["(", *named, ")"]


async def store(wire: Wire, ranges: Sequence[UidRange], item: str, values: Sequence[Argument]) -> None:
    """UID STORE of one item such as `+FLAGS.SILENT`; messages that are gone are no error."""
    for group in split(merge(ranges)):
        command = text("UID STORE", compose_set(group), item)
        try:
            await wire.run(command, *values, on_response=lambda pieces: is_row(pieces[0]))
        except CommandRefused as error:
            if not refusal(error).messages_gone:
                raise


async def transfer(wire: Wire, verb: str, ranges: Sequence[UidRange], name: Argument) -> Copied:
    """`UID COPY` or `UID MOVE` to a mailbox; what went before a refusal stays there.

    COPYUID may come in the tagged response or, as MOVE has it, in an untagged OK (RFC 6851, 4.3).
    """
    validity: int | None = None
    uids: dict[int, int] = {}
    for group in split(merge(ranges)):
        copied = await _transfer_group(wire, text(verb, compose_set(group)), name, count(group))
        validity = copied.uid_validity or validity
        uids.update(copied.uids)
    return Copied(validity, uids)


async def expunge_uids(wire: Wire, ranges: Sequence[UidRange]) -> None:
    """UID EXPUNGE of messages that are flagged as deleted (RFC 4315, 2.1)."""
    for group in split(merge(ranges)):
        await wire.run(text("UID EXPUNGE", compose_set(group)), timeout_s=COPY_S, total_s=LONG_S)


async def _transfer_group(wire: Wire, command: str, name: Argument, asked: int) -> Copied:
    early = Copied()

    def on_response(pieces: Response) -> bool:
        nonlocal early
        status = parse_status(pieces[0][2:])
        if status is None or status.code != "COPYUID":
            return False
        early = parse_copy_uid(status, asked)
        return True

    status = await wire.run(command, name, on_response=on_response, timeout_s=COPY_S, total_s=LONG_S)
    return early if early.uids else parse_copy_uid(status, asked)
