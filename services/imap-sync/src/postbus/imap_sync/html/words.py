"""Sets of names, written as one text: there are many, and none of them says much alone."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())
