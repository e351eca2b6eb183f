"""Whether HTML is tame enough to be parsed: parsers take quadratic time for some of it, and memory for every tag.

One linear pass over the tags. It is no parser, and where it can be fooled, the limits of the process hold.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from postbus.imap_sync.html.words import words

MAX_DEPTH: Final = 512  # open tags
MAX_TAGS: Final = 100_000  # a parser takes up to 400 bytes for each; the longest newsletters have some thousands
MAX_REOPENED: Final = 250_000  # formatting elements that blocks open again (HTML, 13.2.4.3)
MAX_ATTRIBUTES: Final = 10_000  # of one tag; each is compared with all before it
MAX_COPIED: Final = 5_000_000_000  # characters: html5ever copies a text once more for each of `_COPYING`; 0.2 s

_TAG: Final = re.compile(r"<(?:!--|(/?)([A-Za-z][A-Za-z0-9:]{0,31}))")
_COPYING: Final = ("&", "\xa0")
_BETWEEN: Final = (" ", "\n", "\t", "=")  # what stands between attributes, one of them at least
_VOID: Final = words(
    "area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr"
)
_FORMATTING: Final = words("a b big code em font i nobr s small strike strong tt u")
_FOREIGN: Final = frozenset({"svg", "math"})
_RAW: Final = {  # elements whose content is no markup, up to their end tag
    name: re.compile(rf"</{name}\b", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes")
}
_CELL: Final = frozenset({"p", "td", "th"})
_ENDS: Final = {  # what a start tag ends where its own end tag was left out (HTML, 13.1.2.4)
    "p": frozenset({"p"}),
    "li": frozenset({"p", "li"}),
    "dt": frozenset({"p", "dt", "dd"}),
    "dd": frozenset({"p", "dt", "dd"}),
    "td": _CELL,
    "th": _CELL,
    "tr": _CELL | {"tr"},
    "tbody": _CELL | {"tr", "thead", "tbody", "tfoot"},
    "tfoot": _CELL | {"tr", "thead", "tbody", "tfoot"},
    "option": frozenset({"option"}),
}
_ONLY_ONE: Final = frozenset({"a", "nobr"})  # a second one ends the first


def is_tame(html: str) -> bool:
    """Whether a parser may see it: not nested above `MAX_DEPTH`, and not of more than `MAX_TAGS`."""
    open_tags = _OpenTags()
    position = found = copied = 0
    while match := _TAG.search(html, position):
        copied += _copied(html, position, match.start())
        if copied > MAX_COPIED or _attributes(html, position, match.start()) > MAX_ATTRIBUTES:
            return False
        position = match.end()
        found += not match[1]
        if found > MAX_TAGS:
            return False
        if match[2] is None:
            position = html.find("-->", position - 2) + 3  # `<!-->` is a whole comment
            if position < 3:
                return True
            continue
        name = match[2].lower()
        if match[1]:
            open_tags.close(name)
            continue
        if not open_tags.open(name):
            return False
        if name in _RAW and not open_tags.foreign:
            end = _RAW[name].search(html, position)
            if end is None:
                return True
            position = end.start()
    copied += _copied(html, position, len(html))
    return copied <= MAX_COPIED and _attributes(html, position, len(html)) <= MAX_ATTRIBUTES


def _copied(html: str, start: int, end: int) -> int:
    return sum(html.count(character, start, end) for character in _COPYING) * (end - start)


def _attributes(html: str, start: int, end: int) -> int:
    """How many attributes may follow a tag's name, at most; few characters have few."""
    if end - start <= MAX_ATTRIBUTES:
        return 0
    closed = html.find(">", start, end)
    return max(html.count(character, start, closed if closed >= 0 else end) for character in _BETWEEN)


class _OpenTags:
    """Which elements are open. Those that format text stay open until their own end tag, whatever ends around them."""

    def __init__(self) -> None:
        self._stack: list[str] = []
        self._counts: Counter[str] = Counter()
        self._formatting: Counter[str] = Counter()
        self._formats = self._reopened = 0

    @property
    def foreign(self) -> bool:
        """Whether it is SVG or MathML, where other rules hold."""
        return any(self._counts[name] for name in _FOREIGN)

    def open(self, name: str) -> bool:
        """Note a start tag; False where it is one too many."""
        if name in _FORMATTING:
            more = not (name in _ONLY_ONE and self._formatting[name])
            self._formatting[name] += more
            self._formats += more
        elif name not in _VOID or self.foreign:
            self._end_implied(name)
            self._stack.append(name)
            self._counts[name] += 1
            self._reopened += self._formats
        return len(self._stack) + self._formats <= MAX_DEPTH and self._reopened <= MAX_REOPENED

    def close(self, name: str) -> None:
        """Note an end tag: it ends all that was opened within. One without a start tag ends nothing."""
        if name in _FORMATTING:
            if self._formatting[name]:
                self._formatting[name] -= 1
                self._formats -= 1
            return
        if self._counts[name]:
            while self._pop() != name:
                continue

    def _end_implied(self, name: str) -> None:
        if (ended := _ENDS.get(name)) and not self.foreign:
            while self._stack and self._stack[-1] in ended:
                self._pop()

    def _pop(self) -> str:
        name = self._stack.pop()
        self._counts[name] -= 1
        return name
