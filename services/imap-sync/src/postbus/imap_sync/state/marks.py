"""What the index keeps of a message: its flags and, on Gmail, its labels, as one set of words.

A flag never has a space in it, so a label is a word that begins with a tilde and one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from postbus.imap_sync.protocol.values import Fetched
from postbus.imap_sync.state.index import Flags

_LABEL = "~ "


def marks_of(row: Fetched) -> Flags:
    """The marks of a row of FETCH."""
    flags = row.flags or ()
    return compose_marks(flags, row.labels) if row.labels else flags


@lru_cache(maxsize=1024)
def compose_marks(flags: Flags, labels: Flags) -> Flags:
    """Flags and labels together; the same ones give the same tuple."""
    return (*flags, *(_LABEL + label for label in labels))


def split_marks(marks: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags and labels, each in the order of the marks."""
    flags = [mark for mark in marks if not mark.startswith(_LABEL)]
    return flags, [mark.removeprefix(_LABEL) for mark in marks if mark.startswith(_LABEL)]
