"""The bytes of a submission, in pieces: from the job itself, or one by one from the RAW stream, never all at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import nats.errors
import nats.js.errors

from postbus.common import jobs
from postbus.common.bus.connection import Bus
from postbus.common.bus.streams import RAW
from postbus.common.errors import Unavailable
from postbus.common.jobs import Submission
from postbus.sender.outcome import DeliveryFailed, Failure

_END_OF_HEADERS: Final = b"\r\n\r\n"


class Content:
    """One message. The first piece is read ahead, as it tells whether the header is in UTF-8 (RFC 6532)."""

    def __init__(self, bus: Bus, submission: Submission, first: bytes) -> None:
        self._bus = bus
        self._submission = submission
        self._first = first

    @classmethod
    async def open(cls, bus: Bus, submission: Submission, inline: bytes) -> Content:
        """Read the first piece. DeliveryFailed when the bytes are gone, Unavailable when the bus is away."""
        first = inline if not submission.raw_chunks else await _fetch_piece(bus, submission.raw_name, 0)
        return cls(bus, submission, first)

    @property
    def header_is_ascii(self) -> bool:
        """Whether the header block, as far as it is in the first piece, needs no SMTPUTF8."""
        end = self._first.find(_END_OF_HEADERS)
        return self._first[: end if end >= 0 else None].isascii()

    async def pieces(self) -> AsyncIterator[bytes]:
        """All pieces in order; errors as `open`."""
        yield self._first
        for chunk in range(1, self._submission.raw_chunks):
            yield await _fetch_piece(self._bus, self._submission.raw_name, chunk)


async def _fetch_piece(bus: Bus, raw_name: str, chunk: int) -> bytes:
    try:
        message = await bus.js.get_last_msg(RAW, jobs.raw_subject(raw_name, chunk), direct=True)
    except nats.js.errors.NotFoundError as error:
        failure = Failure(error="The content of the message is no longer stored", code="EMESSAGE")
        raise DeliveryFailed(failure) from error
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
        raise Unavailable(f"bus: message bytes: {error or type(error).__name__}", code="BusUnavailable") from error
    return message.data or b""
