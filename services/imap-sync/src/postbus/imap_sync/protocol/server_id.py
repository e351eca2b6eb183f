"""ID (RFC 2971, 3.2): what a server says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from postbus.imap_sync.protocol.tokens import decode, parse_tokens

MAX_FIELDS: Final = 30  # RFC 2971, 3.3
MAX_KEY, MAX_VALUE = 30, 1024  # characters


def parse_id(pieces: Sequence[bytes], start: int) -> dict[str, str]:
    """id-response: `("name" "Cyrus")`, keys in lower case; empty for NIL. ProtocolError when it is no list of words."""
    tokens = parse_tokens(pieces, start=start)
    fields = tokens[0] if tokens and isinstance(tokens[0], list) else []
    said: dict[str, str] = {}
    for name, value in zip(fields[::2], fields[1::2], strict=False):
        if isinstance(name, bytes) and isinstance(value, bytes) and len(said) < MAX_FIELDS:
            said.setdefault(decode(name).lower()[:MAX_KEY], decode(value)[:MAX_VALUE])
    return said
