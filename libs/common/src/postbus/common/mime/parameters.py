"""Parameters of Content-Type and Content-Disposition: RFC 2045 (5.1), RFC 2231, and RFC 2047 where it should not be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from postbus.common.mime.charsets import decode_text
from postbus.common.mime.words import decode_words, header_bytes

MAX_PARAMETERS: Final = 1000
MAX_CONTENT_VALUE: Final = 64 * 1024  # bytes of one Content-* header that are looked at

# name [ "*" section ] [ "*" ], RFC 2231, 7
_NAME: Final = re.compile(r"(?P<name>[^*]+)(?:\*(?P<section>\d{1,4}))?(?P<coded>\*)?")
_PARAMETER: Final = re.compile(
    r"""\s*+;?\s*+(?P<name>[^\s=;"]++)\s*+=\s*+(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"?|(?P<token>[^;"]*+))|\s*+;|[^;]++""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPED: Final = re.compile(r'\\(["\\])')  # a single backslash before anything else is a Windows path


def parse_content_value(value: bytes | str) -> tuple[str, dict[str, str]]:
    """Split a Content-Type or Content-Disposition value into its lower-case first token and decoded parameters."""
    text = decode_text(header_bytes(value)[:MAX_CONTENT_VALUE], None)
    head, _, rest = text.partition(";")
    raw: dict[str, str] = {}
    for match in _PARAMETER.finditer(rest):
        if match["name"] and len(raw) < MAX_PARAMETERS:
            quoted = match["quoted"]
            content = (match["token"] or "").strip() if quoted is None else _ESCAPED.sub(r"\1", quoted)
            raw.setdefault(match["name"].lower(), content)
    return re.sub(r"\s+|\(.*", "", head, flags=re.DOTALL).lower(), decode_parameters(raw)


def decode_parameters(params: Mapping[str, str]) -> dict[str, str]:
    """Decode parameters as they came (`filename*0*`, `=?utf-8?...?=`) into lower-case name -> text.

    RFC 2231 wins over a plain parameter of the same name; a missing section ends its parameter. Never raises.
    """
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[str, bool]]] = {}
    for key, value in list(params.items())[:MAX_PARAMETERS]:
        match = _NAME.fullmatch(key.strip().lower())
        if match is None or (match["section"] is None and not match["coded"]):
            plain.setdefault(key.strip().lower(), decode_words(value))
            continue
        section = sections.setdefault(match["name"], {})
        section.setdefault(int(match["section"] or 0), (value, bool(match["coded"])))
    return plain | {name: _joined(parts) for name, parts in sections.items()}


def _joined(parts: dict[int, tuple[str, bool]]) -> str:
    """RFC 2231, 3 and 4.1: the first section names the charset, every coded one is percent-encoded."""
    charset: str | None = None
    data, coded_any = b"", False
    for number in range(min(parts), min(parts) + len(parts)):
        if number not in parts:
            break
        value, coded = parts[number]
        if coded and not coded_any and value.count("'") >= 2:
            charset, _, value = value.split("'", 2)
        coded_any = coded_any or coded
        data += unquote_to_bytes(header_bytes(value)) if coded else header_bytes(value)
    return decode_words(data) if not coded_any else decode_text(data, charset).translate(_CONTROL)


_CONTROL: Final = str.maketrans("\r\n\0", "   ")
