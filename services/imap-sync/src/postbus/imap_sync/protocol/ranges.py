"""Sets of uids as sorted ranges, and as the text of a command (RFC 9051, sequence-set).

A mailbox of 50,000 messages is usually a handful of ranges, so nothing here expands a range unless it is asked to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from postbus.common.errors import ProtocolError
from postbus.imap_sync.protocol.values import UidRange

MAX_UID = 4_294_967_295  # nz-number: 32 bits
MAX_SET_CHARS = 4_000  # servers refuse commands above 8 KB ("Too long argument", Dovecot 2.3)


def to_ranges(uids: Iterable[int]) -> tuple[UidRange, ...]:
    """Uids in any order, repeats allowed, as sorted ranges that neither touch nor overlap."""
    ranges: list[UidRange] = []
    first = last = -1
    for uid in sorted(uids):
        if uid <= last:
            continue
        if uid == last + 1 and first >= 0:
            last = uid
            continue
        if first >= 0:
            ranges.append(UidRange(first, last))
        first = last = uid
    if first >= 0:
        ranges.append(UidRange(first, last))
    return tuple(ranges)


def merge(ranges: Iterable[UidRange]) -> tuple[UidRange, ...]:
    """Ranges in any order, overlaps allowed, as sorted ranges that neither touch nor overlap."""
    merged: list[UidRange] = []
    for span in sorted(ranges, key=lambda span: span.first):
        if merged and span.first <= merged[-1].last + 1:
            if span.last > merged[-1].last:
                merged[-1] = UidRange(merged[-1].first, span.last)
        else:
            merged.append(span)
    return tuple(merged)


def count(ranges: Iterable[UidRange]) -> int:
    """How many uids there are in ranges that do not overlap."""
    return sum(span.last - span.first + 1 for span in ranges)


def contains(ranges: Sequence[UidRange], uid: int) -> bool:
    """Whether a uid is in sorted ranges."""
    at = bisect_right(ranges, uid, key=lambda span: span.first)
    return at > 0 and uid <= ranges[at - 1].last


def expand(ranges: Iterable[UidRange]) -> Iterator[int]:
    """Every uid, one by one. A hostile server may name 4 billion: look at `count` first."""
    for span in ranges:
        yield from range(span.first, span.last + 1)


def intersect(left: Sequence[UidRange], right: Sequence[UidRange]) -> tuple[UidRange, ...]:
    """What two sorted range lists have in common."""
    common: list[UidRange] = []
    i = j = 0
    while i < len(left) and j < len(right):
        first, last = max(left[i].first, right[j].first), min(left[i].last, right[j].last)
        if first <= last:
            common.append(UidRange(first, last))
        if left[i].last < right[j].last:
            i += 1
        else:
            j += 1
    return tuple(common)


def subtract(left: Sequence[UidRange], right: Sequence[UidRange]) -> tuple[UidRange, ...]:
    """What is in the first of two sorted range lists and not in the second."""
    rest: list[UidRange] = []
    j = 0
    for span in left:
        first = span.first
        while j < len(right) and right[j].last < first:
            j += 1
        at = j
        while at < len(right) and right[at].first <= span.last:
            if right[at].first > first:
                rest.append(UidRange(first, right[at].first - 1))
            first = right[at].last + 1
            at += 1
        if first <= span.last:
            rest.append(UidRange(first, span.last))
    return tuple(rest)


def compose_set(ranges: Iterable[UidRange]) -> str:
    """`1:5,7`: the text of a sequence-set. It may be long: `split` first when the ranges are many."""
    return ",".join(str(span.first) if span.first == span.last else f"{span.first}:{span.last}" for span in ranges)


def split(ranges: Iterable[UidRange], *, max_chars: int = MAX_SET_CHARS) -> Iterator[tuple[UidRange, ...]]:
    """The same ranges in groups whose text is at most `max_chars` long, for commands under 8 KB."""
    group: list[UidRange] = []
    size = 0
    for span in ranges:
        length = len(compose_set((span,))) + 1
        if group and size + length > max_chars:
            yield tuple(group)
            group, size = [], 0
        group.append(span)
        size += length
    if group:
        yield tuple(group)


def cut(ranges: Iterable[UidRange], size: int) -> Iterator[tuple[UidRange, ...]]:
    """The same uids in groups of at most `size`, for batches."""
    group: list[UidRange] = []
    room = size
    for span in ranges:
        first = span.first
        while first <= span.last:
            last = min(span.last, first + room - 1)
            group.append(UidRange(first, last))
            room -= last - first + 1
            first = last + 1
            if not room:
                yield tuple(group)
                group, room = [], size
    if group:
        yield tuple(group)


def parse_set(text: str) -> tuple[UidRange, ...]:
    """`1:5,7` of a server, merged. ProtocolError for anything else; `*` has no place in an answer."""
    return merge(parse_ranges(text))


def parse_ranges(text: str) -> tuple[UidRange, ...]:
    """The same in the order of the server, repeats kept: in COPYUID the order means something (RFC 4315, 3)."""
    return tuple(_parse_range(item) for item in text.split(",")) if text else ()


def _parse_range(item: str) -> UidRange:
    first, colon, last = item.partition(":")
    low, high = _parse_uid(first), _parse_uid(last if colon else first)
    return UidRange(low, high) if low <= high else UidRange(high, low)


def _parse_uid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10) or not 0 < int(text) <= MAX_UID:
        raise ProtocolError("the server sent a malformed set of numbers")
    return int(text)
