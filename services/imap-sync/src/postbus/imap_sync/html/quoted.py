"""The quoted tail of a message: what was written before, repeated below the answer, and of little interest there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

MIN_QUOTED: Final = 120  # characters; less is not worth a click
MAX_FOLDED: Final = 256 * 1024  # characters of a body that is looked at

_HINT: Final = re.compile(r"<blockquote|gmail_quote|yahoo_quoted|divrplyfwdmsg|appendonsend|protonmail_quote", re.I)
_QUOTES: Final = frozenset({"gmail_quote", "gmail_quote_container", "yahoo_quoted", "protonmail_quote"})  # classes
_MARKERS: Final = frozenset({"divRplyFwdMsg", "appendonsend"})  # ids: Outlook, and all that follows is quoted
_PREFIX: Final = "moz-cite-prefix"  # class: Thunderbird, "On … wrote:"
_BLANK_TAGS: Final = frozenset({"-comment", "br", "style", "script", "meta", "link", "title"})
_SHOWN: Final = "img, table, hr, video, object"


def fold_quoted_html(html: str) -> str:
    """HTML with its quoted tail inside a closed `<details>`; as it was where there is no tail, or nothing before it.

    Only for HTML that `nesting.is_tame`.
    """
    if len(html) > MAX_FOLDED or not _HINT.search(html):
        return html
    body = (tree := LexborHTMLParser(html)).body
    tail = _tail_of(body) if body else []
    if not body or not tail:
        return html
    quoted = sum(_length(node) for node in tail)
    if quoted < MIN_QUOTED or _length(body) <= quoted:
        return html
    details = tree.create_node("details")
    details.insert_child(tree.create_node("summary"))
    for node in tail:
        details.insert_child(node)
    tail[0].insert_before(details)
    for node in tail:
        node.decompose()
    return body.inner_html or html


def quoted_from(text: str) -> int | None:
    """Where the quoted tail of a plain text begins: its last lines that begin with `>`; None where there is none."""
    if len(text) > MAX_FOLDED:
        return None
    start = end = len(text.rstrip())
    while start:
        begin = text.rfind("\n", 0, start - 1) + 1
        line = text[begin:start].strip()
        if line and not line.startswith(">"):
            break
        start = begin
    quoted = text[start:end].strip()
    return start if len(quoted) >= MIN_QUOTED and text[:start].strip() else None


def _tail_of(body: LexborNode) -> list[LexborNode]:
    """The nodes at the end that are quoted, looked for from the body down its last branch that shows anything."""
    node = body
    while True:
        children = list(_children(node))
        for position, child in enumerate(children):
            if (child.attributes.get("id") or "") in _MARKERS and _has_text(children[position:]):
                return children[position:]
        shown = [position for position, child in enumerate(children) if _shows(child)]
        if not shown:
            return []
        last = shown[-1]
        if _is_quote(children[last]):
            before = shown[-2] if len(shown) > 1 else last
            first = before if _PREFIX in _classes(children[before]) else last
            return children[first:]
        node = children[last]


def _children(node: LexborNode) -> Iterator[LexborNode]:
    child = node.first_child
    while child is not None:
        yield child
        child = child.next


def _is_quote(node: LexborNode) -> bool:
    return node.tag == "blockquote" or bool(_QUOTES & _classes(node))


def _classes(node: LexborNode) -> frozenset[str]:
    return frozenset((node.attributes.get("class") or "").split()) if node.is_element_node else frozenset()


def _shows(node: LexborNode) -> bool:
    """Whether a reader sees anything of it."""
    if node.tag in _BLANK_TAGS:
        return False
    return bool(_length(node)) or (node.is_element_node and node.css_first(_SHOWN) is not None)


def _has_text(nodes: list[LexborNode]) -> bool:
    return any(_length(node) for node in nodes)


def _length(node: LexborNode) -> int:
    """Characters of its text, white space counting once."""
    return len(" ".join(node.text().split()))
