"""ENVELOPE (RFC 9051, 7.5.2): the headers of a message as the server took them apart.

Servers send too few fields, NIL for lists and lists for text. What is not there is None; nothing here raises.
"""

from __future__ import annotations

from postbus.imap_sync.protocol.tokens import Token
from postbus.imap_sync.protocol.values import EnvelopeAddress, MessageEnvelope

_FIELDS = 10


def parse_envelope(token: Token) -> MessageEnvelope | None:
    """envelope; None when it is no list."""
    if not isinstance(token, list):
        return None
    fields = token if len(token) >= _FIELDS else [*token, *[None] * (_FIELDS - len(token))]
    return MessageEnvelope(
        _nstring(fields[0]),
        _nstring(fields[1]),
        _addresses(fields[2]),
        _addresses(fields[3]),
        _addresses(fields[4]),
        _addresses(fields[5]),
        _addresses(fields[6]),
        _addresses(fields[7]),
        _nstring(fields[8]),
        _nstring(fields[9]),
    )


def _nstring(token: Token) -> bytes | None:
    return token if isinstance(token, bytes) else None


def _addresses(token: Token) -> tuple[EnvelopeAddress, ...]:
    if not token or not isinstance(token, list):
        return ()
    addresses = [_address(row) for row in token if isinstance(row, list)]
    return tuple(addresses) if all(address.host for address in addresses) else _without_groups(addresses)


def _address(row: list[Token]) -> EnvelopeAddress:
    """addr-name, addr-adl (a source route, obsolete), addr-mailbox, addr-host."""
    fields = row if len(row) >= 4 else [*row, None, None, None, None]
    return EnvelopeAddress(_nstring(fields[0]), _nstring(fields[2]), _nstring(fields[3]))


def _without_groups(addresses: list[EnvelopeAddress]) -> tuple[EnvelopeAddress, ...]:
    """Leave out where groups begin and end.

    quirk_nil_host: a mailbox with NIL for its host and no group end behind it is an address without a domain.
    """
    last_end = max((at for at, address in enumerate(addresses) if _ends_group(address)), default=-1)
    return tuple(
        address
        for at, address in enumerate(addresses)
        if not _ends_group(address) and not (at < last_end and address.host is None and address.name is None)
    )


def _ends_group(address: EnvelopeAddress) -> bool:
    return address.mailbox is None and address.host is None and address.name is None
