"""The text of messages: which bytes to fetch, and how they become text (contract, section 9).

A limit counts characters after decoding. Only as many bytes are fetched as that many characters can need, so a limit
bounds memory too; what is cut off is told by `has_more`.
"""

from __future__ import annotations

import asyncio
import codecs
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from postbus.common.accounts import MailboxRecord
from postbus.common.commands import TextType
from postbus.common.events import MAX_EVENT_BYTES, TextInfo
from postbus.common.ids import MessageId
from postbus.common.mime.charsets import codec_of, decode_text, replace_surrogates
from postbus.common.mime.transfer import decode_transfer
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.message_info import compose_text
from postbus.imap_sync.protocol.ranges import to_ranges
from postbus.imap_sync.protocol.values import Fetched
from postbus.imap_sync.structure import Content, TextPart, read_structure

MAX_TEXT_CHARS: Final = 7 * 1024 * 1024  # of one type; an answer on the bus has at most 8 MB
MAX_PART_BYTES: Final = 16 * 1024 * 1024  # of one part as transferred
MAX_FETCHED_BYTES: Final = 32 * 1024 * 1024  # of all parts of one message
MAX_DECODED_AT_ONCE: Final = 256 * 1024  # bytes: some milliseconds

_SLACK: Final = 256  # bytes: soft line breaks, an escape sequence, the last character
_BYTES_PER_CHAR: Final = 4  # UTF-8, gb18030
_SINGLE_BYTE: Final = re.compile(r"ascii|latin_?1|iso8859.*|cp12\d\d|cp8\d\d|cp437|koi8.*|mac_.*")
_CUT_CODE: Final = re.compile(rb"=[0-9A-Fa-f]?\Z")  # a quoted-printable code that lost its end


@dataclass(frozen=True, slots=True)
class Text:
    """The text of one message; None for a type that was not asked for or that the message does not have.

    `web_safe`: the HTML was made to be shown.
    """

    plain: str | None
    html: str | None
    has_more: bool
    web_safe: bool = False

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        texts = {name: text for name, text in (("plain", self.plain), ("html", self.html)) if text is not None}
        return {**texts, "hasMore": self.has_more, **({"webSafe": True} if self.web_safe else {})}


async def fetch_texts(
    connection: ImapConnection, fetched: Sequence[Fetched], mailbox: MailboxRecord, *, max_chars: int
) -> dict[int, TextInfo]:
    """The texts of messages whose structure is known, by uid; messages that are gone by now are absent.

    Messages alike in structure share one FETCH. Memory is up to `max_chars` for each message and type: mind the number.
    More than an event can carry is not fetched.
    """
    max_chars = min(max_chars, MAX_EVENT_BYTES)
    contents = {row.uid: read_structure(row.structure) for row in fetched if row.uid}
    texts: dict[int, TextInfo] = {}
    for limits, uids in _alike(contents, max_chars).items():
        async for row in connection.fetch(to_ranges(uids), ("UID", *text_items(dict(limits)))):
            if isinstance(row, Fetched) and row.uid in contents and row.sections:
                text = await decode_texts(row.sections, contents[row.uid], dict(limits), max_chars)
                texts[row.uid] = _info(MessageId(mailbox.number, row.uid), contents[row.uid], text)
    for uid, content in contents.items():
        if not content.plain and not content.html:
            texts[uid] = _info(MessageId(mailbox.number, uid), content, Text(None, None, has_more=False))
    return texts


def wanted_parts(content: Content, text_type: TextType) -> Content:
    """The text parts of the type that is wanted."""
    return Content(content.plain if text_type != "html" else (), content.html if text_type != "plain" else ())


def byte_limits(content: Content, max_chars: int) -> dict[str, int]:
    """How many bytes of each text part to fetch, so that no part can be short of `max_chars` characters."""
    parts = (*content.plain, *content.html)
    most = min(MAX_PART_BYTES, MAX_FETCHED_BYTES // max(len(parts), 1))
    return {part.number: min(_max_bytes(part, max_chars), most) for part in parts}


def text_items(limits: Mapping[str, int]) -> tuple[str, ...]:
    """The FETCH items for text parts; a section is answered under its number."""
    return tuple(f"BODY.PEEK[{number}]<0.{max_bytes}>" for number, max_bytes in limits.items())


def read_text(sections: Mapping[str, bytes], content: Content, limits: Mapping[str, int], max_chars: int) -> Text:
    """The text out of what was fetched, each type at most `max_chars` characters. Never raises."""
    plain, plain_more = _joined(sections, content.plain, limits, max_chars)
    html, html_more = _joined(sections, content.html, limits, max_chars)
    return Text(plain, html, plain_more or html_more)


async def decode_texts(
    sections: Mapping[str, bytes], content: Content, limits: Mapping[str, int], max_chars: int
) -> Text:
    """As `read_text`, for text that may be huge: that is decoded in a thread, for others have to go on."""
    if sum(map(len, sections.values())) <= MAX_DECODED_AT_ONCE:
        return read_text(sections, content, limits, max_chars)
    return await asyncio.to_thread(read_text, sections, content, limits, max_chars)


def decode_part(part: TextPart, raw: bytes, *, cut: bool) -> str:
    """The text of one part; `cut` where only its beginning was fetched. Lines end in LF. Never raises."""
    if cut and part.encoding.startswith("quoted"):
        raw = _CUT_CODE.sub(b"", raw)
    data = decode_transfer(raw, part.encoding)
    text = _decode_cut(data, part.charset) if cut else decode_text(data, part.charset)
    text = text.replace("\r\n", "\n")
    return unfold_flowed(text, delsp=part.delsp) if part.flowed else text


def unfold_flowed(text: str, *, delsp: bool) -> str:
    """Undo `format=flowed` (RFC 3676, 4): lines that end in a space go on in the next one of the same quote depth."""
    lines: list[list[str]] = []
    open_depth: int | None = None  # of the paragraph that goes on
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content[1:] if content.startswith(" ") else content  # space-stuffing, 4.4
        signature = content == "-- "  # 4.3
        if open_depth == depth and not signature:
            lines[-1].append(content)
        else:
            lines.append([f"{'>' * depth} " if depth else "", content])
        flows = content.endswith(" ") and not signature
        if flows and delsp:
            lines[-1][-1] = content[:-1]
        open_depth = depth if flows else None
    return "\n".join("".join(pieces) for pieces in lines)


def _alike(contents: Mapping[int, Content], max_chars: int) -> dict[tuple[tuple[str, int], ...], list[int]]:
    """Uids by what has to be fetched of them: part numbers and limits."""
    groups: defaultdict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for uid, content in contents.items():
        if limits := byte_limits(content, max_chars):
            groups[tuple(limits.items())].append(uid)
    return groups


def _info(message: MessageId, content: Content, text: Text) -> TextInfo:
    return TextInfo.model_validate({**compose_text(message, content), **text.fields()})


def _joined(
    sections: Mapping[str, bytes], parts: Sequence[TextPart], limits: Mapping[str, int], max_chars: int
) -> tuple[str | None, bool]:
    """The parts of one type, one after the other on lines of their own, and whether something is missing."""
    texts: list[str] = []
    more = False
    for part in parts:
        raw = sections.get(part.number, b"")
        cut = len(raw) >= limits[part.number] and part.size > len(raw)
        more = more or cut
        texts.append(decode_part(part, raw, cut=cut))
    text = "\n".join(texts)
    return text[:max_chars] if texts else None, more or len(text) > max_chars


def _max_bytes(part: TextPart, max_chars: int) -> int:
    """How long the part can be, as transferred, to hold so many characters."""
    codec = codec_of(part.charset) if part.charset else None
    size = max_chars if codec and _SINGLE_BYTE.fullmatch(codec) else max_chars * _BYTES_PER_CHAR
    if part.encoding == "base64":
        size = size * 3 // 2  # 4/3, and line ends
    elif part.encoding.startswith("quoted"):
        size *= 3
    return size + _SLACK


def _decode_cut(data: bytes, charset: str | None) -> str:
    """Decode the beginning of a text whose last character may be cut in two: that one is left out."""
    codec = (codec_of(charset) if charset else None) or "utf_8_sig"
    try:
        text = codecs.getincrementaldecoder("utf_8_sig" if codec == "ascii" else codec)("strict").decode(data)
    except (ValueError, LookupError):
        return decode_text(data, charset).rstrip("\ufffd")
    return replace_surrogates(text).rstrip("\r")
