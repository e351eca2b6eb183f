"""Text as HTML, and the text of HTML that no parser may see. Both are linear, whatever a stranger wrote."""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape, unescape
from typing import Final

from postbus.imap_sync.html.quoted import quoted_from

_LINK: Final = re.compile(r"\bhttps?://[^\s<>\"'`\x00-\x20]{1,2000}")
_AFTER_LINK: Final = ".,:;!?)]}"  # ends the sentence, not the address
_REFERENCE: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31})(?:;|\b)")
_BLOCK: Final = re.compile(  # also where an attribute has a `<` in it: then it ends there, and all stays linear
    r"</?(?:address|article|blockquote|br|dd|div|dl|dt|h[1-6]|hr|li|ol|p|pre|section|table|tr|ul)\b[^<>]*>",
    re.IGNORECASE,
)
_TAG: Final = re.compile(r"<[A-Za-z/!?][^<>]*>")
_UNSHOWN: Final = re.compile(
    r"<!--|<(script|style|title|textarea|xmp|iframe|noembed|noframes|svg|math)\b", re.IGNORECASE
)
_ENDS: Final = {
    name: re.compile(rf"</{name}\b[^<>]*>", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes", "svg", "math")
}
_unescape: Final = lru_cache(maxsize=1024)(unescape)  # a message uses the same few, often
_NUL: Final = "\0"  # no parser shows it, and some stop there
_SPACES: Final = re.compile(r"[ \t\r\f\v\xa0]+")
_LINES: Final = re.compile(r"\n[ \n]*\n ?")


def text_to_html(text: str) -> str:
    """A text as HTML that is safe to show: escaped, its links made links, its quoted tail closed."""
    start = quoted_from(text)
    if start is None:
        return _block(text)
    return f"{_block(text[:start].rstrip())}<details><summary></summary>{_block(text[start:])}</details>"


def html_to_text(html: str) -> str:
    """What a reader would see of HTML, roughly: without tags, and with lines where blocks begin and end."""
    text = _TAG.sub("", _BLOCK.sub("\n", _shown(html)))
    text = _REFERENCE.sub(lambda reference: _unescape(reference[0]), text)
    return _LINES.sub("\n\n", _SPACES.sub(" ", text)).strip()


def _shown(html: str) -> str:
    """HTML without comments, and without elements of which nothing is shown."""
    pieces: list[str] = []
    position = 0
    while match := _UNSHOWN.search(html, position):
        pieces.append(html[position : match.start()])
        position = _end_of(html, match)
        if position < 0:
            return "".join(pieces)
    pieces.append(html[position:])
    return "".join(pieces)


def _end_of(html: str, match: re.Match[str]) -> int:
    """Where a comment or an element ends; -1 where it does not."""
    if match[1] is None:
        end = html.find("-->", match.end() - 2)
        return end + 3 if end >= 0 else -1
    closing = _ENDS[match[1].lower()].search(html, match.end())
    return closing.end() if closing else -1


def _block(text: str) -> str:
    return f'<div style="white-space:pre-wrap">{_linked(text.replace(_NUL, ""))}</div>'


def _linked(text: str) -> str:
    pieces: list[str] = []
    position = 0
    for match in _LINK.finditer(text):
        link = match[0].rstrip(_AFTER_LINK)
        pieces.append(escape(text[position : match.start()], quote=False))
        shown = escape(link)
        pieces.append(f'<a href="{shown}" target="_blank" rel="noopener noreferrer">{shown}</a>')
        position = match.start() + len(link)
    pieces.append(escape(text[position:], quote=False))
    return "".join(pieces)
