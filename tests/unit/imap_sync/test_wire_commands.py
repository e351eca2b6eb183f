"""Typed commands against servers with habits: what is sent, and what becomes of the answers."""

from datetime import UTC, datetime

import pytest

from postbus.common.errors import BadInput, CommandRefused, NotFound, TooLarge
from postbus.imap_sync.protocol.values import (
    Appended,
    Fetched,
    KnownState,
    MailboxStatus,
    Selected,
    UidRange,
    Vanished,
)
from tests.unit.imap_sync.scripted_imap import Peer, session

pytestmark = pytest.mark.anyio


QRESYNC = b"ENABLE QRESYNC"
ENABLED = [b"* ENABLED CONDSTORE QRESYNC"]


async def enable(peer: Peer) -> None:
    await peer.answer(b"ENABLE CONDSTORE QRESYNC", *ENABLED)


async def test_select_adds_up_what_the_server_says() -> None:
    async def play(peer: Peer) -> None:
        await enable(peer)
        await peer.answer(
            b'SELECT "Entw&APw-rfe" (CONDSTORE)',
            b"* 172 EXISTS",
            b"* 1 RECENT",
            b"* OK [UNSEEN 12] Message 12 is first unseen",
            b"* OK [UIDVALIDITY 3857529045] UIDs valid",
            b"* OK [UIDNEXT 4392] Predicted next UID",
            b"* FLAGS (\\Answered \\Seen)",
            b"* OK [PERMANENTFLAGS (\\Deleted \\Seen \\*)] Limited",
            b"* OK [HIGHESTMODSEQ 715194045007]",
            b"* OK [MAILBOXID (F2212ea87)] Ok",
            status=b"OK [READ-ONLY] done",
        )

    async with session(play, QRESYNC) as connection:
        assert await connection.select("Entwürfe") == Selected(
            path="Entwürfe",
            exists=172,
            uid_validity=3857529045,
            uid_next=4392,
            highest_modseq=715194045007,
            read_only=True,
            permanent_flags=frozenset({"\\Deleted", "\\Seen", "\\*"}),
            mailbox_id="F2212ea87",
        )
        assert connection.exists == 172


async def test_qresync_brings_what_changed_since() -> None:
    """VANISHED makes the mailbox smaller (quirk 54)."""

    async def play(peer: Peer) -> None:
        await enable(peer)
        await peer.answer(b'SELECT "INBOX" (CONDSTORE)', b"* 5 EXISTS")
        await peer.answer(
            b'SELECT "INBOX" (QRESYNC (67890007 20050715194045000 41:211,600))',
            b"* 6 EXISTS",
            b"* OK [CLOSED]",
            b"* 100 EXISTS",
            b"* OK [UIDVALIDITY 67890007] x",
            b"* VANISHED (EARLIER) 41,43:116",
            b"* 49 FETCH (UID 117 FLAGS (\\Seen) MODSEQ (12121231777))",
            b'* 50 FETCH (UID 118 ENVELOPE ("broken))',
        )
        await peer.answer(b"NOOP", b"* VANISHED 1:10")

    async with session(play, QRESYNC) as connection:
        await connection.select("INBOX")
        known = KnownState(67890007, 20050715194045000, (UidRange(41, 211), UidRange(600, 600)))
        selected = await connection.select("INBOX", known=known)
        assert selected.exists == 100
        assert selected.vanished == (UidRange(41, 41), UidRange(43, 116))
        assert selected.changed == (
            Fetched(49, uid=117, flags=("\\Seen",), modseq=12121231777),
            Fetched(50, uid=118, broken=True),
        )
        await connection.noop()
        assert connection.exists == 90


async def test_nomodseq_and_missing_numbers_are_none() -> None:
    """(quirk 37)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b'EXAMINE "x"', b"* 0 EXISTS", b"* OK [NOMODSEQ] no", b"* OK [UIDVALIDITY 0] x")

    async with session(play) as connection:
        assert await connection.select("x", read_only=True) == Selected("x", 0, None, None, None, read_only=True)


async def test_parameters_that_are_refused_are_left_out_from_then_on() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b'SELECT "x" (CONDSTORE)', status=b"BAD parse error")
        await peer.answer(b'SELECT "x"', b"* 1 EXISTS")

    async with session(play, b"CONDSTORE") as connection:
        assert (await connection.select("x")).exists == 1
        assert connection.enabled == frozenset()


async def test_a_refused_select_leaves_nothing_selected() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"SELECT", b"* 3 EXISTS")
        await peer.answer(b"SELECT", status=b"NO [NONEXISTENT] no such mailbox")

    async with session(play) as connection:
        await connection.select("INBOX")
        with pytest.raises(CommandRefused) as caught:
            await connection.select("gone")
        assert caught.value.server_code == "NONEXISTENT"
        assert connection.selected is None


async def test_a_server_without_modified_utf7_is_asked_by_the_raw_name() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b'STATUS "Gr&APYA3w-e"', status=b"NO no such mailbox")
        tag = await peer.command(b"STATUS {7}")
        peer.send(b"+ ")
        assert await peer.line() == "Größe (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)".encode()
        peer.send("* STATUS Größe (MESSAGES 3)".encode(), tag + b" OK")

    async with session(play) as connection:
        assert await connection.status("Größe") == MailboxStatus(messages=3)


async def test_a_malformed_row_or_an_impossible_name_hides_no_other_mailbox() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(
            b'LIST "" "*"', b'* LIST () "/" {3}', b"a\nb", b"* LIST () broken", b'* LIST () "x', b'* LIST () "/" INBOX'
        )
        await peer.answer(b'LSUB "" "*"', b"* LSUB", b'* LSUB () "/" INBOX')
        tag = await peer.command(b"SELECT {3}")
        peer.send(b"+ ")
        assert await peer.literal(5) == b"a\nb\r\n"
        peer.send(tag + b" OK")

    async with session(play) as connection:
        listed = await connection.list_mailboxes(with_status=False)
        assert [row.path for row in listed] == ["a\nb", "INBOX"]
        await connection.select("a\nb")


async def test_unselect_never_expunges() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b'SELECT "x"', b"* 1 EXISTS")
        await peer.answer(b'EXAMINE "x"', b"* 1 EXISTS")
        await peer.answer(b"CLOSE")

    async with session(play) as connection:
        await connection.select("x")
        await connection.unselect()
        await connection.unselect()
        assert connection.selected is None


LIST_STATUS = b"LIST-EXTENDED LIST-STATUS SPECIAL-USE CONDSTORE OBJECTID"


async def test_one_round_trip_lists_mailboxes_with_use_subscription_and_status() -> None:
    """Dovecot 2.4 tells what it was asked for and no more (quirk 22)."""

    async def play(peer: Peer) -> None:
        await peer.answer(
            b'LIST "" "*" RETURN (SUBSCRIBED CHILDREN SPECIAL-USE STATUS '
            b"(MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ MAILBOXID))",
            b'* LIST (\\Subscribed \\HasNoChildren) "/" inbox',
            b"* STATUS inbox (MESSAGES 3)",
            b'* LIST (\\Sent) "/" "Sent"',
        )

    async with session(play, LIST_STATUS) as connection:
        inbox, sent = await connection.list_mailboxes(with_status=True)
        assert (inbox.path, inbox.status, "\\subscribed" in inbox.attributes) == ("INBOX", MailboxStatus(3), True)
        assert (sent.path, sent.status, "\\sent" in sent.attributes) == ("Sent", None, True)


async def test_return_options_that_are_refused_are_dropped_one_group_at_a_time_and_for_good() -> None:
    """(quirk 32)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b'LIST "" "*" RETURN (SUBSCRIBED CHILDREN SPECIAL-USE STATUS', status=b"BAD no")
        await peer.answer(b'LIST "" "*" RETURN (SUBSCRIBED CHILDREN SPECIAL-USE)', status=b"BAD no")
        for _ in range(2):
            await peer.answer(b'LIST "" "*" RETURN (SUBSCRIBED CHILDREN)', b'* LIST () "/" INBOX')

    async with session(play, LIST_STATUS) as connection:
        for _ in range(2):
            assert len(await connection.list_mailboxes(with_status=True)) == 1


async def test_gmail_before_special_use_is_asked_by_xlist() -> None:
    """A localised INBOX is known by its flag (quirk 10). No subscriptions told: all is subscribed (quirk 36)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b'XLIST "" "*"', b'* XLIST (\\Inbox) "/" "Posteingang"', b'* XLIST (\\Spam) "/" Spam')
        await peer.answer(b'LSUB "" "*"', status=b"BAD no LSUB")
        await peer.answer(b'SELECT "INBOX"')

    async with session(play, b"XLIST") as connection:
        inbox, spam = await connection.list_mailboxes(with_status=False)
        assert (inbox.path, spam.attributes) == ("INBOX", frozenset({"\\junk", "\\subscribed"}))
        await connection.select("INBOX")


async def test_an_inbox_outside_of_the_namespace_is_listed_too() -> None:
    """(quirk 34)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"NAMESPACE", b'* NAMESPACE (("mail/" "/")) NIL NIL')
        await peer.answer(b'LIST "" "mail/*"', b'* LIST () "/" mail/a')
        await peer.answer(b'LSUB "" "mail/*"')
        await peer.answer(b'LIST "" "INBOX"', b'* LIST () "/" INBOX')
        await peer.answer(b'LSUB "" "INBOX"')

    async with session(play, b"NAMESPACE") as connection:
        assert [row.path for row in await connection.list_mailboxes(with_status=False)] == ["mail/a", "INBOX"]


async def test_statuses_of_many_are_one_command_and_the_rest_are_single() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(
            b'LIST "" ("a" "b" "gone") RETURN (STATUS (',
            b"* LIST () NIL a",
            b"* STATUS a (MESSAGES 1)",
            b"* LIST () NIL b",
            b"* STATUS b (MESSAGES 2)",
        )
        await peer.answer(b'STATUS "x*"', b"* STATUS x* (MESSAGES 3)")
        await peer.answer(b'STATUS "gone"', status=b"NO gone")

    async with session(play, b"LIST-EXTENDED LIST-STATUS") as connection:
        found = await connection.statuses(["x*", "a", "b", "gone"])
        assert found == {"x*": MailboxStatus(3), "a": MailboxStatus(1), "b": MailboxStatus(2)}


async def test_search_is_extended_where_it_can_be_and_merges_what_comes() -> None:
    """SEARCH where ESEARCH was asked, several lines with repeats (quirk 44)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b'UID SEARCH RETURN (ALL) FROM "Jan"', b'* ESEARCH (TAG "x") UID ALL 5:9,2')
        await peer.answer(b"UID SEARCH RETURN (ALL) ALL", b"* SEARCH 7 3", b"* SEARCH 3 4")
        tag = await peer.command(b"UID SEARCH RETURN (ALL) CHARSET UTF-8 TEXT {2+}")
        assert await peer.literal(4) == "ü\r\n".encode()
        peer.send(b'* ESEARCH (TAG "x") UID', tag + b" OK nothing")

    async with session(play, b"ESEARCH LITERAL+") as connection:
        assert await connection.search(["FROM", b"Jan"]) == [UidRange(2, 2), UidRange(5, 9)]
        assert await connection.search(["ALL"]) == [UidRange(3, 4), UidRange(7, 7)]
        assert await connection.search(["TEXT", "ü".encode()]) == []


async def test_nothing_with_a_line_end_begins_another_command() -> None:
    async def play(peer: Peer) -> None:
        assert await peer.line() == b""

    async with session(play) as connection:
        for attempt in (
            connection.select("INBOX\r\nA1 LOGOUT"),
            connection.status("a\0"),
            connection.search(["ALL\r\nA1 LOGOUT"]),
            connection.search(["FROM", b"a\0b"]),
            connection.store_flags([UidRange(1, 1)], add=["\\Seen\r\nA1 LOGOUT"]),
            connection.append("x", b"a\0b"),
            connection.append("x", b"a", flags=["b c"]),
        ):
            with pytest.raises(BadInput):
                await attempt
        with pytest.raises(BadInput):
            connection.fetch(None, ("UID",), by_seq="1\r\nA1 LOGOUT")
        with pytest.raises(BadInput):
            await anext(connection.fetch([UidRange(1, 1)], ("UID", "BODY[\r\nA1 LOGOUT]")))


async def test_long_sets_go_in_several_commands_below_eight_kilobytes() -> None:
    uids = [UidRange(uid, uid) for uid in range(1_000_000, 1_004_000, 2)]
    lines: list[bytes] = []

    async def play(peer: Peer) -> None:
        for _ in range(4):
            line = await peer.line()
            lines.append(line)
            peer.send(line.split(b" ")[0] + b" OK")

    async with session(play) as connection:
        assert await connection.fetch_flags_compact(uids) == []
    assert max(map(len, lines)) < 8_000
    assert sum(line.count(b",") + 1 for line in lines) == len(uids)


async def test_changes_since_come_with_what_vanished_only_under_qresync() -> None:
    async def play(peer: Peer) -> None:
        await enable(peer)
        await peer.answer(
            b"UID FETCH 1:9 (UID FLAGS MODSEQ) (CHANGEDSINCE 12345 VANISHED)",
            b"* VANISHED (EARLIER) 3:4",
            b"* 1 FETCH (UID 1 MODSEQ (65402) FLAGS (\\Seen))",
        )

    async with session(play, QRESYNC) as connection:
        changes = connection.fetch([UidRange(1, 9)], ("UID", "FLAGS", "MODSEQ"), changed_since=12345, vanished=True)
        assert [row async for row in changes] == [
            Vanished((UidRange(3, 4),), earlier=True),
            Fetched(1, uid=1, modseq=65402, flags=("\\Seen",)),
        ]


async def test_flags_that_the_mailbox_does_not_keep_are_not_stored_and_own_echo_is_no_news() -> None:
    """(quirk 49)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"SELECT", b"* 1 EXISTS", b"* OK [PERMANENTFLAGS (\\Seen)] x")
        await peer.answer(b"UID STORE 1 +FLAGS.SILENT (\\Seen)", b"* 1 FETCH (UID 1 MODSEQ (5))")
        await peer.answer(b"IDLE", status=b"OK at once")

    async with session(play, b"IDLE") as connection:
        await connection.select("x")
        await connection.store_flags([UidRange(1, 1)], add=["\\Seen", "$Label"], remove=["$Other"])
        await connection.idle(max_s=1)


async def test_append_sends_flags_date_and_literal_and_returns_the_uid() -> None:
    """The limit is checked first (quirk 46); the server's code reaches the caller (trap 33)."""

    async def play(peer: Peer) -> None:
        tag = await peer.command(b'APPEND "Sent" (\\Seen) " 7-Feb-2026 21:52:25 +0000" {5}')
        peer.send(b"+ Ready")
        assert await peer.literal(7) == b"hello\r\n"
        peer.send(tag + b" OK [APPENDUID 38505 3955] done")
        tag = await peer.command(b'APPEND "Sent" {5}')
        peer.send(tag + b" NO [OVERQUOTA] full")
        tag = await peer.command(b"NOOP")
        peer.send(tag + b" OK")

    async with session(play, b"APPENDLIMIT=100") as connection:
        moment = datetime(2026, 2, 7, 21, 52, 25, tzinfo=UTC)
        assert await connection.append("Sent", b"hello", flags=["\\Seen"], internal_date=moment) == Appended(
            38505, 3955
        )
        with pytest.raises(CommandRefused) as caught:
            await connection.append("Sent", b"hello")
        assert caught.value.server_code == "OVERQUOTA"
        with pytest.raises(TooLarge):
            await connection.append("Sent", b"x" * 101)
        await connection.noop()


async def section(*answers: tuple[bytes, ...]) -> bytes:
    async def play(peer: Peer) -> None:
        for answer in answers:
            await peer.answer(b"UID FETCH 7 (UID BODY.PEEK[1]<", *answer)

    async with session(play) as connection:
        return b"|".join([piece async for piece in connection.stream_section(7, "1", chunk_size=4)])


async def test_a_section_comes_in_pieces_and_ends_with_a_short_one() -> None:
    first, second = b'* 1 FETCH (UID 7 BODY[1]<0> "abcd")', b"* 1 FETCH (BODY[1]<4> {1}\r\ne UID 7)"
    assert await section((first,), (second,)) == b"abcd|e"
    assert await section((first,), (b'* 1 FETCH (UID 7 BODY[1]<4> "")',)) == b"abcd"
    assert await section((first,), (b"* 1 FETCH (UID 7 BODY[1] NIL)",)) == b"abcd"


async def test_a_server_that_ignores_partials_gave_everything_at_once() -> None:
    """Tencent Exmail (quirk 21) (trap 27)."""
    assert await section((b'* 1 FETCH (UID 7 BODY[1] "abcdefgh")',)) == b"abcdefgh"


async def test_an_empty_answer_is_asked_again_once() -> None:
    assert await section((), (b'* 1 FETCH (UID 7 BODY[1]<0> "ab")',)) == b"ab"


async def test_a_message_that_goes_away_in_the_middle_is_not_a_short_one() -> None:
    for answers in (((), (), ()), ((b'* 1 FETCH (UID 7 BODY[1]<0> "abcd")',), (), (), ())):
        with pytest.raises(NotFound):
            await section(*answers)
