"""What a reply or forward takes from the original: threading headers, subject, recipients (contract, section 12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from postbus.common.commands import ReferenceAddress, ReferenceInfo
from postbus.common.mime.headers import parse_message_ids
from postbus.common.mime.outgoing import OutgoingAddress

Action = Literal["reply", "forward"]

_PREFIXES: dict[Action, str] = {"reply": "Re: ", "forward": "Fwd: "}


@dataclass(frozen=True, slots=True)
class Threading:
    """The headers that tie a message to its original: ids in angle brackets."""

    in_reply_to: str | None = None
    references: tuple[str, ...] = ()


def threading_of(original: ReferenceInfo, action: Action) -> Threading:
    """References are those of the original, what it answers, and itself, each once; In-Reply-To only for replies."""
    own = parse_message_ids(original.message_id)
    thread = parse_message_ids(original.references) + parse_message_ids(original.in_reply_to)
    references = [one for one in dict.fromkeys(thread) if one not in own] + own
    return Threading(own[0] if own and action == "reply" else None, tuple(references))


def subject_of(original: ReferenceInfo, action: Action) -> str:
    """The subject of the original with `Re: ` or `Fwd: `, unless it already starts so."""
    prefix = _PREFIXES[action]
    subject = " ".join(original.subject.split())
    return subject if subject.lower().startswith(prefix.strip().lower()) else f"{prefix}{subject}".strip()


def recipients_of(original: ReferenceInfo) -> tuple[OutgoingAddress, ...]:
    """Who a reply goes to: Reply-To where it has an address, else From."""
    return _usable(original.reply_to) or _usable(original.from_)


def _usable(addresses: list[ReferenceAddress]) -> tuple[OutgoingAddress, ...]:
    return tuple(OutgoingAddress(one.name, one.address) for one in addresses if one.address)
