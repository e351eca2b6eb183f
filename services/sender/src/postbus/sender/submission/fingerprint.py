"""What makes a message the same one when a client sends it again under its idempotency key.

A client that composes its message anew writes another Date, Message-ID and MIME boundaries: these do not count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from postbus.common.mime.raw import RawMessage

MAX_BOUNDARIES: Final = 8  # that are looked at; one that is nested deeper makes another message

_ANEW: Final = frozenset({"date", "message-id", "received"})
_BOUNDARY: Final = re.compile(
    rb"boundary[ \t]*=[ \t]*\"?([^\"\s;]{8,70})", re.IGNORECASE
)  # shorter ones could be words


def fingerprint(sender: str, recipients: Sequence[str], message: RawMessage) -> bytes:
    """Octets that are equal for equal messages to the same recipients."""
    fields = [field.raw for field in message.fields if field.key not in _ANEW]
    content = b"".join([*fields, b"\r\n", message.body])
    for boundary in _boundaries(content):
        content = content.replace(boundary, b"")
    return b"\0".join([*(address.encode() for address in (sender, *recipients)), content])


def _boundaries(content: bytes) -> list[bytes]:
    """The first ones, longest first: one may be the beginning of another."""
    found: set[bytes] = set()
    for match in _BOUNDARY.finditer(content):
        found.add(match[1])
        if len(found) == MAX_BOUNDARIES:
            break
    return sorted(found, key=len, reverse=True)
