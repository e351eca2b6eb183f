"""What servers leave out of FETCH rows or spoil in them is asked for once more, and once only.

Sections (Apache James gives one of several), addresses (Lark Mail has none in ENVELOPE), and all that stands beside a
BODYSTRUCTURE that can't be read (BlueMind).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from postbus.common.mime.addresses import parse_addresses
from postbus.common.mime.headers import parse_header_block
from postbus.imap_sync.protocol.fetches import section_key
from postbus.imap_sync.protocol.values import EnvelopeAddress, Fetched, MessageEnvelope

MAX_HEADER: Final = 64 * 1024  # bytes of address headers that are read

_SECTION: Final = re.compile(r"(?:BODY|BINARY)(?:\.PEEK)?\[(.*)\](?:<[\d.]+>)?", re.IGNORECASE)
_NAMES: Final = {"from": "from_", "sender": "sender", "reply-to": "reply_to", "to": "to", "cc": "cc", "bcc": "bcc"}
_ADDRESSES: Final = f"HEADER.FIELDS ({' '.join(_NAMES).upper()})"
_ASK_ADDRESSES: Final = f"BODY.PEEK[{_ADDRESSES}]<0.{MAX_HEADER}>"


class Mender:
    """Holds back the rows of one FETCH that lack something, until that has been asked for again."""

    def __init__(self, items: Sequence[str]) -> None:
        self.held: dict[int, Fetched] = {}
        found = ((item, _SECTION.fullmatch(item)) for item in items)
        self._sections = {section_key(match[1]): item for item, match in found if match}
        self._enveloped = "ENVELOPE" in items
        plain = [item for item in items if item not in ("BODYSTRUCTURE", "BODY")]
        self._without_structure = plain if len(plain) < len(items) and len(plain) > 1 else []

    def holds(self, row: Fetched) -> bool:
        """Whether the row lacks something that may be had; then it is kept here."""
        if row.uid is None or not self._lacking(row):
            return False
        self.held[row.uid] = row
        return True

    def questions(self) -> Mapping[tuple[str, ...], list[int]]:
        """What to ask for again, and of which messages."""
        asked: dict[tuple[str, ...], list[int]] = {}
        for uid, row in self.held.items():
            if lacking := self._lacking(row):
                asked.setdefault(tuple(lacking), []).append(uid)
        return asked

    def mend(self, answer: Fetched) -> None:
        """Add what came this time."""
        row = self.held.get(answer.uid or 0)
        if row is None or answer.uid is None or answer.broken:
            return
        if row.broken:
            self.held[answer.uid] = answer
            return
        sections = {key: value for key, value in answer.sections.items() if key in self._sections}
        if row.envelope is not None and (block := answer.sections.get(_ADDRESSES)):
            row = replace(row, envelope=_addressed(row.envelope, block))
        self.held[answer.uid] = replace(row, sections={**row.sections, **sections}) if sections else row

    def _lacking(self, row: Fetched) -> list[str]:
        """Items to ask for again."""
        if row.broken:
            return self._without_structure  # quirk_broken_structure (BlueMind)
        sections = self._sections
        lacking: list[str] = []
        if len(sections) > 1 and 0 < len(row.sections) < len(sections):  # quirk_one_section (Apache James)
            lacking = [item for key, item in sections.items() if key not in row.sections]
        if self._enveloped and row.envelope is not None and _nobody(row.envelope):
            lacking.append(_ASK_ADDRESSES)  # quirk_no_addresses (Lark Mail)
        return lacking


def _nobody(envelope: MessageEnvelope) -> bool:
    return not (envelope.from_ or envelope.sender or envelope.to or envelope.reply_to or envelope.cc or envelope.bcc)


def _addressed(envelope: MessageEnvelope, block: bytes) -> MessageEnvelope:
    """The envelope with the addresses of these headers; of repeated ones the first counts."""
    found: dict[str, tuple[EnvelopeAddress, ...]] = {}
    for name, value in parse_header_block(block):
        if (key := _NAMES.get(name.lower())) is not None:
            found.setdefault(
                key, tuple(_as_in_envelope(parsed.name, parsed.address) for parsed in parse_addresses(value))
            )
    return replace(envelope, **found)  # type: ignore[arg-type]


def _as_in_envelope(name: str, address: str) -> EnvelopeAddress:
    local, _, host = address.rpartition("@")
    return EnvelopeAddress(name.encode() or None, (local or address).encode() or None, host.encode() if local else None)
