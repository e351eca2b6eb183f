"""The small type notation of webhooks.json, read into checkable types.

    notation  := union "?"? remark          ("?": may be absent; the remark is prose, such as "(2)" or "ms")
    union     := single ("|" single)*
    single    := (word | "{" member ("," member)* "}" | "[" union "]") "[]"*
    member    := name "?"? "(2)"? (":" union)? "?"? "(2)"?

A member without a type has the one its name has in openapi-shape.json, if it is listed below, or may hold anything.
`{name:string[]}` and `{lowername:string[]}` stand for an object with arbitrary keys. Text that does not start with a
known word is a description of a string.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.contract.checker.openapi_view import json_type

_TOKEN = re.compile(r"\s*(\[\]|[{}\[\]|,:?]|\([^)]*\)|[A-Za-z][A-Za-z0-9]*)")
_KEY_PLACEHOLDERS = ("name", "lowername")
_ISO8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)")


@dataclass(frozen=True, slots=True)
class Word:
    """A named type: string, int, true, ISO8601, Address..."""

    name: str


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array with items of one type."""

    item: "Type"


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with arbitrary keys."""

    value: "Type"


@dataclass(frozen=True, slots=True)
class Union:
    """One of several types."""

    options: "tuple[Type, ...]"


@dataclass(frozen=True, slots=True)
class Record:
    """An object with known members; other members are allowed."""

    members: "tuple[Member, ...]"


Type = Word | ListOf | MapOf | Union | Record


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a record."""

    name: str
    type: Type
    optional: bool = False


ANY = Word("any")
STRING = Word("string")
_STRING_OR_FALSE = Union((STRING, Word("false")))
ADDRESS = Record((Member("name", STRING, optional=True), Member("address", STRING)))

_TYPE_OF_NAME: "dict[str, Type]" = {  # in attachments, text, bounces and job
    **dict.fromkeys(("id", "contentType", "contentId", "content", "method", "recipient", "action"), STRING),
    **dict.fromkeys(("embedded", "inline", "encodedInMessage", "hasMore", "webSafe"), Word("bool")),
    **dict.fromkeys(("encodedSize", "attemptsMade", "attempts"), Word("int")),
    "filename": _STRING_OR_FALSE,  # false: v1, part without a name
}

_WORDS: dict[str, Callable[[Any], bool]] = {
    "any": lambda value: True,
    "string": lambda value: isinstance(value, str),
    "int": lambda value: json_type(value) == "integer",
    "bool": lambda value: isinstance(value, bool),
    "true": lambda value: value is True,
    "false": lambda value: value is False,
    "null": lambda value: value is None,
    "object": lambda value: isinstance(value, dict),
    "ISO8601": lambda value: isinstance(value, str) and _ISO8601.fullmatch(value) is not None,
}


def member_of(name: str, notation: str | dict[str, Any]) -> Member:
    """A field of a webhook, from its notation; a nested dict is a record."""
    if isinstance(notation, dict):
        return Member(name, Record(tuple(member_of(key, value) for key, value in notation.items())))
    if not re.match(rf"[{{\[]|({'|'.join(_WORDS)}|Address)\b", notation):
        return Member(name, STRING)
    parser = _Parser(notation)
    kind = parser.union()
    return Member(name, kind, optional=parser.rest().startswith(("?", "(API", ", only")))


def faults(kind: Type, value: Any, path: str) -> Iterator[str]:
    """What is wrong with a value, one line per place; nothing when it fits."""
    match kind:
        case Word("Address"):
            yield from faults(ADDRESS, value, path)
        case Word(name) if not _WORDS[name](value):
            yield f"{path}: {name} expected, got {_describe(value)}"
        case ListOf(item):
            yield from _list_faults(item, value, path)
        case MapOf(item):
            yield from _map_faults(item, value, path)
        case Union(options):
            yield from _union_faults(options, value, path)
        case Record(members):
            yield from record_faults(members, value, path)


def record_faults(members: tuple[Member, ...], value: Any, path: str) -> Iterator[str]:
    """What is wrong with an object of known members."""
    if not isinstance(value, dict):
        yield f"{path}: object expected, got {_describe(value)}"
        return
    for member in members:
        place = f"{path}.{member.name}"
        if member.name in value:
            yield from faults(member.type, value[member.name], place)
        elif not member.optional:
            yield f"{place}: missing"


def _list_faults(item: Type, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: array expected, got {_describe(value)}"
        return
    for index, entry in enumerate(value):
        yield from faults(item, entry, f"{path}[{index}]")


def _map_faults(item: Type, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: object expected, got {_describe(value)}"
        return
    for key, entry in value.items():
        yield from faults(item, entry, f"{path}.{key}")


def _union_faults(options: tuple[Type, ...], value: Any, path: str) -> Iterator[str]:
    """The faults of the option that fits best: a record for an object, else a plain refusal."""
    found = [list(faults(option, value, path)) for option in options]
    if all(found):
        structured = [lines for option, lines in zip(options, found, strict=True) if isinstance(option, Record)]
        plain = [f"{path}: got {_describe(value)}, which is none of the allowed types"]
        yield from structured[0] if structured and isinstance(value, dict) else plain


def _describe(value: Any) -> str:
    text = repr(value)
    return f"{json_type(value)} {text if len(text) <= 40 else text[:37] + '...'}"


class _Parser:
    """Recursive descent over one notation, one method per grammar rule."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def rest(self) -> str:
        """Text behind what was read: the remark."""
        return self._text[self._at :].lstrip()

    def union(self) -> Type:
        """union := single ("|" single)*"""
        options = [self._single()]
        while self._take("|"):
            options.append(self._single())
        return options[0] if len(options) == 1 else Union(tuple(options))

    def _single(self) -> Type:
        kind = self._base()
        while self._take("[]"):
            kind = ListOf(kind)
        return kind

    def _base(self) -> Type:
        if self._take("{"):
            return self._record()
        if self._take("["):
            item = self.union()
            self._expect("]")
            return ListOf(item)
        word = self._next()
        if word != "Address" and word not in _WORDS:
            raise ValueError(f"unknown type {word!r} in {self._text!r}")
        return Word(word)

    def _record(self) -> Type:
        members = [self._member()]
        while self._take(","):
            members.append(self._member())
        self._expect("}")
        if len(members) == 1 and members[0].name in _KEY_PLACEHOLDERS:
            return MapOf(members[0].type)
        return Record(tuple(members))

    def _member(self) -> Member:
        name, optional = self._next(), self._mark()
        kind = self.union() if self._take(":") else _TYPE_OF_NAME.get(name, ANY)
        return Member(name, kind, optional=self._mark() or optional)

    def _mark(self) -> bool:
        """`?` and `(2)` in any order; a member that only v2 has may be absent, like an optional one."""
        optional = False
        while (token := self._peek()) == "?" or token.startswith("("):
            optional = True
            self._next()
        return optional

    def _peek(self) -> str:
        found = _TOKEN.match(self._text, self._at)
        return found[1] if found else ""

    def _next(self) -> str:
        found = _TOKEN.match(self._text, self._at)
        if not found:
            raise ValueError(f"can not read {self._text!r} at {self._at}")
        self._at = found.end()
        return found[1]

    def _take(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._next()
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise ValueError(f"{token!r} expected in {self._text!r} at {self._at}")
