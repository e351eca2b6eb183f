"""Flags and labels of a message are kept as one set of words, and are told apart again."""

from hypothesis import given
from hypothesis import strategies as st

from postbus.imap_sync.protocol.values import Fetched
from postbus.imap_sync.state.index import canonical
from postbus.imap_sync.state.marks import compose_marks, marks_of, split_marks

FLAGS = st.sets(st.sampled_from(["\\Seen", "\\Flagged", "~tilde", "$Junk"])).map(lambda flags: tuple(sorted(flags)))
LABELS = st.sets(st.sampled_from(["\\Inbox", "~ a", "a b", "Ärger", "\\Seen"])).map(
    lambda labels: tuple(sorted(labels))
)


@given(FLAGS, LABELS)
def test_what_is_kept_of_a_message_is_told_apart_again(flags: tuple[str, ...], labels: tuple[str, ...]) -> None:
    assert split_marks(canonical(compose_marks(flags, labels))) == (list(flags), list(labels))


def test_without_labels_the_flags_are_all_there_is_and_the_same_object() -> None:
    flags = ("\\Seen",)
    assert marks_of(Fetched(1, 1, flags)) is flags
    assert marks_of(Fetched(1, 1, flags, labels=("\\Inbox",))) == ("\\Seen", "~ \\Inbox")
    assert marks_of(Fetched(1, 1)) == ()
