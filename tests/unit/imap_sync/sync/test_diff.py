"""What became of a mailbox: random histories of a server, seen through every kind of answer, end in the same view."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from postbus.imap_sync.protocol.ranges import to_ranges
from postbus.imap_sync.protocol.values import UidRange
from postbus.imap_sync.state.diff import Row, compare
from postbus.imap_sync.state.index import MailboxIndex, canonical

EVERYTHING = (UidRange(1, 4_294_967_295),)
FLAGS = st.sets(st.sampled_from(["\\Seen", "\\Flagged", "\\Deleted", "$Junk"])).map(lambda flags: tuple(sorted(flags)))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 2000), FLAGS),
        st.tuples(st.just("flags"), st.integers(0, 50), FLAGS),
        st.tuples(st.just("expunge"), st.integers(0, 50), st.just(())),
        st.tuples(st.just("look"), st.sampled_from(["qresync", "condstore", "plain"]), st.just(())),
    ),
    max_size=40,
)


@dataclass
class Server:
    """A mailbox as RFC 7162 sees it."""

    messages: dict[int, tuple[str, ...]] = field(default_factory=dict)
    modseqs: dict[int, int] = field(default_factory=dict)
    vanished: list[tuple[int, int]] = field(default_factory=list)
    modseq: int = 1
    uid_next: int = 1

    def step(self, action: str, value: int, flags: tuple[str, ...]) -> None:
        self.modseq += 1
        if action == "add":
            uid = self.uid_next + value - 1
            self.uid_next = uid + 1
            self.messages[uid], self.modseqs[uid] = flags, self.modseq
        elif self.messages:
            uid = sorted(self.messages)[value % len(self.messages)]
            if action == "flags":
                self.messages[uid], self.modseqs[uid] = flags, self.modseq
            else:
                del self.messages[uid]
                self.vanished.append((self.modseq, uid))

    def changed(self, since: int) -> list[Row]:
        return [
            Row(uid, self.messages[uid], at) for uid, at in self.modseqs.items() if at > since and uid in self.messages
        ]


@dataclass
class Follower:
    """Looks now and then, and keeps what events would have told somebody else."""

    index: MailboxIndex = field(default_factory=MailboxIndex)
    told: dict[int, tuple[str, ...]] = field(default_factory=dict)
    modseq: int = 0

    def look(self, server: Server, how: str) -> None:
        if how == "qresync":
            vanished = to_ranges(uid for at, uid in server.vanished if at > self.modseq)
            diff = compare(self.index, server.changed(self.modseq), vanished=vanished)
        elif how == "condstore":
            gone = to_ranges(uid for uid in self.index.uids() if uid not in server.messages)
            diff = compare(self.index, server.changed(self.modseq), vanished=gone)
        else:
            rows = [Row(uid, flags) for uid, flags in server.messages.items()]
            diff = compare(self.index, rows, complete=EVERYTHING)
        self.modseq = server.modseq
        for row in diff.new:
            assert row.uid not in self.told, "announced twice"
            self.index.put(row.uid, row.flags)
            self.told[row.uid] = canonical(row.flags)
        for change in diff.changed:
            assert self.told[change.uid] == change.before != change.after
            self.index.put(change.uid, change.after)
            self.told[change.uid] = change.after
        for uid in diff.gone:
            self.index.remove(uid)
            del self.told[uid]


@given(STEPS)
def test_events_add_up_to_what_the_server_has(steps: list[tuple[str, object, tuple[str, ...]]]) -> None:
    server, follower = Server(), Follower()
    for action, value, flags in steps:
        if action == "look":
            follower.look(server, str(value))
        else:
            assert isinstance(value, int)
            server.step(action, value, flags)
    follower.look(server, "qresync")
    assert follower.told == {uid: canonical(flags) for uid, flags in server.messages.items()}
    assert {uid: follower.index.get(uid) for uid in follower.index.uids()} == follower.told


def test_looking_twice_at_the_same_answer_changes_nothing() -> None:
    index = MailboxIndex()
    rows = [Row(1, ("\\Seen",), 5), Row(2, (), 6)]
    index.fill((row.uid, row.flags) for row in rows)
    assert not compare(index, rows, vanished=to_ranges([7, 8, 9]))


def test_a_message_that_is_shown_and_vanished_is_gone() -> None:
    index = MailboxIndex()
    index.fill([(1, ())])
    diff = compare(index, [Row(1, ("\\Seen",)), Row(2, ())], vanished=to_ranges([1, 2]))
    assert (diff.gone, diff.new, diff.changed) == ([1], [], [])


def test_what_is_outside_of_a_complete_range_is_not_gone() -> None:
    index = MailboxIndex()
    index.fill([(1, ()), (2, ()), (3, ())])
    assert compare(index, [Row(2, ())], complete=(UidRange(2, 3),)).gone == [3]


def test_the_recent_flag_of_a_session_is_no_change() -> None:
    index = MailboxIndex()
    index.fill([(1, ("\\Seen",))])
    assert not compare(index, [Row(1, ("\\Recent", "\\Seen"))])


def test_a_hostile_list_of_vanished_uids_costs_nothing() -> None:
    index = MailboxIndex()
    index.fill([(1, ())])
    assert compare(index, [], vanished=EVERYTHING).gone == [1]
