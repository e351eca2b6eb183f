"""Answers as JSON, small enough for one message on the bus."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from postbus.common.bus.connection import Bus
from postbus.common.errors import TooLarge
from postbus.imap_sync.texts import Text

HEADROOM: Final = 64 * 1024  # bytes of an answer's headers

encode: Final = msgspec.json.encode


def max_answer(bus: Bus) -> int:
    """The largest answer the bus takes, in bytes."""
    return int(bus.nc.max_payload) - HEADROOM


def encode_with_text(fields: dict[str, Any], text_fields: dict[str, Any], text: Text, max_bytes: int) -> bytes:
    """`fields` as JSON, after the text went into `text_fields`, which is they or a part of them.

    Text that is too long for the bus is cut and says so; HTML that was made safe is left out instead, for its pieces
    might not be. TooLarge where the answer would not fit without any text.
    """
    while True:
        text_fields.update(text.fields())
        body = encode(fields)
        if len(body) <= max_bytes:
            return body
        longest = max(len(text.plain or ""), 0 if text.web_safe else len(text.html or ""))
        if longest:
            text = _cut(text, min(longest // 2, max_bytes))
        elif text.web_safe:
            del text_fields["html"], text_fields["webSafe"]
            text = Text(text.plain, None, has_more=True)
        else:
            raise TooLarge(f"The message is over {max_bytes} bytes without its text")


def _cut(text: Text, max_chars: int) -> Text:
    plain = text.plain and text.plain[:max_chars]
    html = text.html if text.web_safe else text.html and text.html[:max_chars]
    return replace(text, plain=plain, html=html, has_more=True)
