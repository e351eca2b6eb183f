"""QUOTA (RFC 9208, 5.1): what a user may store, and what he has stored."""

from __future__ import annotations

from collections.abc import Sequence

from postbus.imap_sync.protocol.tokens import Token, number_of, parse_tokens
from postbus.imap_sync.protocol.values import Quota

STORAGE_UNIT = 1024  # bytes


def parse_quota(pieces: Sequence[bytes], start: int) -> Quota | None:
    """quota-response: `"" (STORAGE 10 512)`; None where it limits no storage. ProtocolError when it is none."""
    tokens = parse_tokens(pieces, start=start)
    resources = tokens[-1] if tokens and isinstance(tokens[-1], list) else []
    for name, usage, limit in zip(resources[::3], resources[1::3], resources[2::3], strict=False):
        if _is_storage(name) and (most := number_of(limit)):
            return Quota(usage=(number_of(usage) or 0) * STORAGE_UNIT, limit=most * STORAGE_UNIT)
    return None


def parse_quota_roots(pieces: Sequence[bytes], start: int) -> list[bytes]:
    """quotaroot-response: the names of roots behind the name of the mailbox. ProtocolError when it is none."""
    return [token for token in parse_tokens(pieces, start=start)[1:] if isinstance(token, bytes) and b"\0" not in token]


def _is_storage(name: Token) -> bool:
    return isinstance(name, bytes) and name.upper() == b"STORAGE"
