"""The outbox: events that were committed together with the state they tell of, on their way into the log.

Entries are MessagePack lists; who owns the account reads them, publishes, waits for the acknowledgements, trims.
"""

from __future__ import annotations

from uuid import UUID

import msgspec

from postbus.common.events import Envelope

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[str, str, str, str, bytes])


def pack_event(event: Envelope) -> bytes:
    """The event as an entry of the list."""
    return _ENCODER.encode((str(event.event_id), event.token, event.account, event.event, event.body))


def unpack_event(entry: bytes) -> Envelope:
    """Read an entry; msgspec.DecodeError when it is none."""
    event_id, token, account, event, body = _DECODER.decode(entry)
    return Envelope(UUID(event_id), token, account, event, body)
