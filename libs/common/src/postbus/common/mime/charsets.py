"""Bytes to text when the charset label may be missing, misspelt or a lie.

Labels mean what they mean in practice (WHATWG Encoding Standard, 4.2): `gb2312` mail is written in gb18030,
`iso-8859-1` mail in windows-1252. Only names Python ships are looked up, so a stranger's label never grows an import
cache.
"""

from __future__ import annotations

import re
from encodings.aliases import aliases
from functools import lru_cache
from typing import Final

import chardet

MAX_GUESSED: Final = 64 * 1024  # bytes shown to the guesser: more does not change its mind
MIN_GUESSED: Final = 8  # non-ASCII bytes below which a guess is noise
MIN_CONFIDENCE: Final = 0.15  # measured: right guesses on one-line texts start here, wrong ones stay below 0.1
MAX_LABEL: Final = 64  # characters
BROKEN_SHARE: Final = 4  # at most one broken character in so many non-ASCII bytes, or the label was wrong

_EXTRA_CODECS: Final = frozenset(
    {
        "cp1006",
        "cp720",
        "cp737",
        "cp856",
        "cp874",
        "cp875",
        "iso8859_1",
        "koi8_t",
        "koi8_u",
        "mac_arabic",
        "mac_croatian",
        "mac_farsi",
        "mac_romanian",
        "utf_8_sig",
    }
)
# Transforms that are no charset, and names that exist on one platform only.
_NOT_TEXT: Final = frozenset(
    {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs"}
)
_CODECS: Final = (frozenset(aliases.values()) | _EXTRA_CODECS) - _NOT_TEXT
_MEANT: Final[dict[str, str]] = {  # Python's codec -> the superset that mail under this label is really written in
    "latin_1": "cp1252",
    "iso8859_1": "cp1252",
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "tis_620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso2022_jp": "iso2022_jp_ext",
    "utf_8": "utf_8_sig",  # a byte order mark in front of a body is no character of it
}
_LABELS: Final[dict[str, str]] = {  # labels Python does not know
    "ansi_x3_110_1983": "cp1252",
    "iso_8859_8_i": "iso8859_8",
    "iso_8859_8_e": "iso8859_8",
    "ks_c_5601": "cp949",
    "ks_c_5601_1987": "cp949",
    "ks_c_5601_1989": "cp949",
    "ksc5601": "cp949",
    "ms_ansi": "cp1252",
    "sjis": "cp932",
    "x_sjis": "cp932",
    "windows_31j": "cp932",
    "x_ms_cp932": "cp932",
    "dos_720": "cp720",
    "cn_gb": "gb18030",
    "x_gbk": "gb18030",
    "cn_big5": "big5hkscs",
    "unicode_1_1_utf_7": "utf_7",
    "x_mac_cyrillic": "mac_cyrillic",
    "x_mac_roman": "mac_roman",
    "macintosh": "mac_roman",
    "utf8mb4": "utf_8_sig",
    "unicode": "utf_16",
}
_WINDOWS: Final = re.compile(r"(?:x_)?(?:windows|window|win|ms|cp|ibm|dos|ansi)_?(\d{3,5})")
_HIGH: Final = bytes(range(0x80, 0x100))
_JIS_ESCAPE: Final = re.compile(rb"\x1b(?:\$[@B]|\([BJI])")


def decode_text(data: bytes, charset: str | None) -> str:
    """Decode strangers' bytes under their own label, or what it most likely meant; never raises.

    Order: the label; UTF-8; a statistical guess when there is enough to guess from; windows-1252. A text that is right
    but for a few broken characters keeps its label and gets U+FFFD there. The result never holds a lone surrogate.
    """
    codec = codec_of(charset) if charset else None
    for attempt in ("utf_8_sig",) if codec is None or codec == "ascii" else (codec, "utf_8_sig"):
        if (text := _strictly(data, attempt)) is not None:
            return text
    return _nearly(data, codec) or _guessed(data) or data.decode("cp1252", "replace")


@lru_cache(maxsize=512)
def codec_of(label: str) -> str | None:
    """Python's codec for a charset label as mail means it, or None for a label nobody knows."""
    label = label.partition("(")[0]  # RFC 2045, 5.1: a comment may follow
    name = re.sub(r"[^a-z0-9]+", "_", label[:MAX_LABEL].lower()).strip("_")
    if name in _LABELS:
        return _LABELS[name]
    for candidate in (name, name.removeprefix("x_"), name.replace("_", "")):
        codec = aliases.get(candidate, candidate)
        if codec in _CODECS:
            return _MEANT.get(codec, codec)
    if windows := _WINDOWS.fullmatch(name):
        codec = f"cp{windows[1]}"
        return codec if codec in _CODECS else None
    return None


def replace_surrogates(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced by U+FFFD, so that UTF-8 can carry it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _strictly(data: bytes, codec: str) -> str | None:
    try:
        return replace_surrogates(data.decode(codec))
    except (ValueError, LookupError):
        return _iso2022_jp(data) if codec.startswith("iso2022_jp") else None


def _iso2022_jp(data: bytes) -> str | None:
    """ISO-2022-JP with the vendor rows everybody uses (circled digits), which Python's codecs refuse."""
    text, kind, start = [], b"\x1b(B", 0
    for escape in [*_JIS_ESCAPE.finditer(data), None]:
        piece = data[start : escape.start() if escape else len(data)]
        if kind.startswith(b"\x1b$"):
            text.append(bytes(octet | 0x80 for octet in piece).decode("euc_jis_2004", "replace"))
        elif kind == b"\x1b(I":
            text.append(bytes(octet | 0x80 for octet in piece).decode("cp932", "replace"))
        else:
            text.append(piece.decode("ascii", "replace"))
        if escape:
            kind, start = escape[0], escape.end()
    joined = "".join(text)
    return None if "\ufffd" in joined else joined


def _nearly(data: bytes, codec: str | None) -> str | None:
    if codec is None or codec == "ascii":
        codec = "utf_8_sig"  # a body cut in the middle of its last character is still UTF-8
    try:
        text = replace_surrogates(data.decode(codec, "replace"))
    except (ValueError, LookupError):
        return None
    return text if text.count("\ufffd") * BROKEN_SHARE <= (_non_ascii(data) or len(data)) else None


def _guessed(data: bytes) -> str | None:
    sample = data[:MAX_GUESSED]
    if _non_ascii(sample) < MIN_GUESSED:
        return None
    guess = chardet.detect(sample)
    label, confidence = guess["encoding"], guess["confidence"]
    codec = codec_of(label) if label and confidence and confidence >= MIN_CONFIDENCE else None
    return _strictly(data, codec) if codec else None


def _non_ascii(data: bytes) -> int:
    return len(data) - len(data.translate(None, _HIGH))
