"""The index of a mailbox: which uids it has and their flags, 6 bytes a message, in chunks of 1024 uids.

In the store a chunk is a field `<uid >> 10>` of packed entries (u16 low bits of the uid, u32 number of a flag set,
little endian), and the field `sets` is the MessagePack list of flag sets. Only the chunks that a pass touches are read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from postbus.imap_sync.protocol.ranges import contains, merge
from postbus.imap_sync.protocol.values import UidRange

Flags = tuple[str, ...]

CHUNK_BITS = 10
SETS_FIELD = "sets"
MAX_FLAGS = 128  # of one message; a server that sends more is broken or hostile
MAX_FLAG_CHARS = 255
FEW_SETS = 64  # of which some may be unused

_LOW = (1 << CHUNK_BITS) - 1
_ENTRY = struct.Struct("<HI")
_ENCODER = msgspec.msgpack.Encoder()
_SETS = msgspec.msgpack.Decoder(list[Flags])


class FlagSets:
    """The sets of flags that occur, numbered: a mailbox of 50,000 messages has a few dozen."""

    def __init__(self, sets: Iterable[Flags] = ()) -> None:
        self._sets = list(sets)
        self._numbers = {flags: number for number, flags in enumerate(self._sets)}
        self._aliases: dict[Flags, int] = dict(self._numbers)
        self.grown = False

    def __len__(self) -> int:
        return len(self._sets)

    def __getitem__(self, number: int) -> Flags:
        return self._sets[number]

    def number_of(self, flags: Flags) -> int:
        """The number of this set, whatever the order of its flags; a new one where it was not seen before."""
        number = self._aliases.get(flags)
        if number is None:
            known = canonical(flags)
            number = self._numbers.get(known)
            if number is None:
                number = self._numbers[known] = len(self._sets)
                self._sets.append(known)
                self.grown = True
            self._aliases[flags] = number
        return number

    def pack(self) -> bytes:
        """As the field of the store."""
        return _ENCODER.encode(self._sets)


@dataclass(slots=True)
class MailboxIndex:
    """The loaded part of an index, and what changed in it since the last `take_changes`.

    Chunks stay packed until one of their messages is asked for: a million messages take 6 MB, not 100.
    """

    sets: FlagSets = field(default_factory=FlagSets)
    packed: dict[int, bytes] = field(default_factory=dict)
    _chunks: dict[int, dict[int, int]] = field(default_factory=dict)  # chunk → low bits of the uid → flag set
    _dirty: set[int] = field(default_factory=set)

    def get(self, uid: int) -> Flags | None:
        """The flags of a message, None when it is not known. Its chunk has to be loaded."""
        number = self._chunk(uid >> CHUNK_BITS).get(uid & _LOW)
        return None if number is None else self.sets[number]

    def put(self, uid: int, flags: Flags) -> None:
        """Add a message or replace its flags."""
        self._chunk(uid >> CHUNK_BITS)[uid & _LOW] = self.sets.number_of(flags)
        self._dirty.add(uid >> CHUNK_BITS)

    def remove(self, uid: int) -> None:
        """Forget a message that is known."""
        del self._chunk(uid >> CHUNK_BITS)[uid & _LOW]
        self._dirty.add(uid >> CHUNK_BITS)

    def fill(self, rows: Iterable[tuple[int, Flags]]) -> None:
        """Add many at once."""
        number_of = self.sets.number_of
        current, chunk = -1, dict[int, int]()
        for uid, flags in rows:
            if uid >> CHUNK_BITS != current:
                current = uid >> CHUNK_BITS
                chunk = self._chunk(current)
                self._dirty.add(current)
            chunk[uid & _LOW] = number_of(flags)

    def uids(self) -> Iterator[int]:
        """All loaded uids, in order."""
        for number in sorted(self.packed.keys() | self._chunks.keys()):
            base = number << CHUNK_BITS
            yield from (base | low for low, _ in self._entries(number))

    def uids_in(self, ranges: Sequence[UidRange]) -> list[int]:
        """The loaded uids within sorted ranges, which may cover 4 billion: only what is loaded is walked."""
        return [uid for uid in self.uids() if contains(ranges, uid)] if ranges else []

    def __len__(self) -> int:
        return sum(map(len, self._chunks.values())) + sum(map(len, self.packed.values())) // _ENTRY.size

    def all_flags(self) -> Iterator[int]:
        """The number of the flag set of each loaded message."""
        for number in self.packed.keys() | self._chunks.keys():
            yield from (flags for _, flags in self._entries(number))

    def take_changes(self) -> tuple[dict[str, bytes], list[str]]:
        """Fields to write and fields to delete, for what changed since the last call."""
        dirty = sorted(self._dirty)
        written = {str(number): pack_chunk(self._chunks[number]) for number in dirty if self._chunks[number]}
        deleted = [str(number) for number in dirty if not self._chunks[number]]
        if self.sets.grown or (written and not len(self.sets)):
            written[SETS_FIELD] = self.sets.pack()
        self.sets.grown = False
        self._dirty.clear()
        return written, deleted

    def compact(self) -> None:
        """Drop flag sets that no message has any more, where those are most. The whole index has to be loaded.

        Labels of Gmail come and go in ever new combinations.
        """
        used = sorted(set(self.all_flags()))
        if len(self.sets) <= max(2 * len(used), FEW_SETS):
            return
        numbers = {old: new for new, old in enumerate(used)}
        for number in (*self.packed, *self._chunks):
            chunk = self._chunk(number)
            self._chunks[number] = {low: numbers[flags] for low, flags in chunk.items()}
        self.sets = FlagSets(self.sets[old] for old in used)
        self.sets.grown = True
        self._dirty |= self._chunks.keys()

    def forget_below(self, uid: int) -> None:
        """Drop loaded chunks that end below this uid, to keep memory flat in a long pass."""
        for number in [number for number in self._chunks if number < uid >> CHUNK_BITS]:
            del self._chunks[number]

    def _chunk(self, number: int) -> dict[int, int]:
        """A chunk to read and change."""
        if (packed := self.packed.pop(number, None)) is not None:
            self._chunks[number] = dict(_ENTRY.iter_unpack(packed))
        return self._chunks.setdefault(number, {})

    def _entries(self, number: int) -> Iterable[tuple[int, int]]:
        packed = self.packed.get(number)
        return sorted(self._chunks[number].items()) if packed is None else _ENTRY.iter_unpack(packed)


def chunks_of(uids: Iterable[int]) -> set[int]:
    """The numbers of the chunks these uids lie in."""
    return {uid >> CHUNK_BITS for uid in uids}


def chunk_count(ranges: Iterable[UidRange]) -> int:
    """In how many chunks these ranges lie, at most."""
    return sum((span.last >> CHUNK_BITS) - (span.first >> CHUNK_BITS) + 1 for span in ranges)


def chunks_in(ranges: Iterable[UidRange]) -> set[int]:
    """The numbers of the chunks these ranges lie in; mind `chunk_count` first."""
    return {number for span in ranges for number in range(span.first >> CHUNK_BITS, (span.last >> CHUNK_BITS) + 1)}


def chunks_among(known: Iterable[int], ranges: Sequence[UidRange]) -> set[int]:
    """Those of the known chunks that these ranges reach into."""
    spans = merge(UidRange(span.first >> CHUNK_BITS, span.last >> CHUNK_BITS) for span in ranges)
    return {number for number in known if contains(spans, number)}


def pack_chunk(entries: Mapping[int, int]) -> bytes:
    """One chunk as the field of the store."""
    lows = sorted(entries)
    return b"".join(map(_ENTRY.pack, lows, map(entries.__getitem__, lows)))


def parse_index(fields: Mapping[str, bytes]) -> MailboxIndex:
    """Read fields of the store. ValueError when they can't be an index."""
    try:
        sets = FlagSets(_SETS.decode(fields[SETS_FIELD])) if SETS_FIELD in fields else FlagSets()
        index = MailboxIndex(sets, {int(name): packed for name, packed in fields.items() if name != SETS_FIELD})
        highest = max(index.all_flags(), default=-1)
    except (struct.error, msgspec.DecodeError) as error:
        raise ValueError("the index is damaged") from error
    if highest >= len(sets):
        raise ValueError("the index names flags it does not have")
    return index


def canonical(flags: Flags) -> Flags:
    """Flags in one order, without repeats and without `\\Recent`, which tells of a session (RFC 3501, 2.3.2)."""
    kept = {flag for flag in flags if flag.lower() != "\\recent" and len(flag) <= MAX_FLAG_CHARS}
    return tuple(sorted(kept)[:MAX_FLAGS])
