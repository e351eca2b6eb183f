"""Rows of listings are remembered within a bound, and forgotten by mailbox."""

from uuid import UUID

from postbus.imap_sync.operations.known_rows import MAX_ROW, MAX_ROWS, KnownRows

LIFE = UUID(int=1)


def test_rows_are_known_by_mailbox_and_uid() -> None:
    known = KnownRows()
    known.add(("a", LIFE, 1), 5, b"row")
    assert known.knows(("a", LIFE, 1)) and known.pick(("a", LIFE, 1), (4, 5)) == {5: b"row"}
    for other in (("a", LIFE, 2), ("a", UUID(int=2), 1)):
        assert not known.knows(other) and known.pick(other, (5,)) == {}


def test_the_mailbox_that_was_not_listed_for_longest_is_forgotten_first() -> None:
    known = KnownRows(max_bytes=2500)
    for number in (1, 2):
        known.add(("a", LIFE, number), 1, b"x" * 1000)
    assert known.pick(("a", LIFE, 1), (1,))
    known.add(("a", LIFE, 3), 1, b"x" * 1000)
    assert [known.knows(("a", LIFE, number)) for number in (1, 2, 3)] == [True, False, True]
    assert known.size <= 2500


def test_a_mailbox_never_has_more_rows_than_a_page() -> None:
    known = KnownRows()
    for uid in range(1, MAX_ROWS + 11):
        known.add(("a", LIFE, 1), uid, b"row")
        known.add(("a", LIFE, 1), uid, b"row again")
    assert len(known.pick(("a", LIFE, 1), range(MAX_ROWS + 11))) == MAX_ROWS
    assert known.size == MAX_ROWS * (len(b"row again") + 150)


def test_a_huge_row_is_not_worth_it() -> None:
    known = KnownRows()
    known.add(("a", LIFE, 1), 1, b"x" * (MAX_ROW + 1))
    assert known.size == 0 and not known.knows(("a", LIFE, 1))
