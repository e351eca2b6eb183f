"""Every trap and quirk of docs/servers.md is guarded by a test that is found by its number.

A test says which in its docstring or a comment: `(trap 17)`, `(quirk 23)`, `(traps 2, 3)`.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

_ROW = re.compile(r"^\| (\d+) \|", re.MULTILINE)
_MARK = re.compile(r"\b(trap|quirk)s? (\d+(?:(?:, and |, | and )\d+)*)")


def described(kind: str) -> set[int]:
    text = (ROOT / "docs/servers.md").read_text()
    table = text.split(f"| {kind} |", 1)[1].split("\n\n", 1)[0]
    return set(map(int, _ROW.findall(table)))


def marked(kind: str) -> set[int]:
    marks = [mark for path in (ROOT / "tests").rglob("*.py") for mark in _MARK.findall(path.read_text())]
    return {int(number) for of, numbers in marks if of == kind for number in re.findall(r"\d+", numbers)}


@pytest.mark.parametrize("kind", ["trap", "quirk"])
def test_each_is_guarded_by_a_test(kind: str) -> None:
    assert described(kind) > {1, 2, 3}
    assert described(kind) - marked(kind) == set()
