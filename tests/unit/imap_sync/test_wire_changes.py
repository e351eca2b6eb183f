"""RFC 4315, RFC 6851 and traps 30 and 31: how messages are moved, expunged and flagged on servers of all abilities."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import BadInput, CommandRefused
from postbus.imap_sync.protocol.responses import Status, parse_copy_uid
from postbus.imap_sync.protocol.values import Copied, UidRange
from tests.unit.imap_sync.scripted_imap import Peer, session

pytestmark = pytest.mark.anyio

ALL_FLAGS = b"* OK [PERMANENTFLAGS (\\Deleted \\Seen \\Flagged \\*)] x"
TWO = [UidRange(3, 3), UidRange(7, 7)]


async def selected(peer: Peer) -> None:
    await peer.answer(b"SELECT", b"* 9 EXISTS", b"* OK [UIDVALIDITY 1] x", ALL_FLAGS)


async def test_move_tells_the_new_uids_from_an_untagged_copyuid() -> None:
    """(quirk 47)."""

    async def play(peer: Peer) -> None:
        await selected(peer)
        await peer.answer(
            b'UID MOVE 3,7 "Target"',
            b"* OK [COPYUID 432432 3,7 1202:1203] Done",
            b"* 3 EXPUNGE",
            b"* 6 EXPUNGE",
        )

    async with session(play, b"MOVE UIDPLUS") as connection:
        await connection.select("x")
        assert await connection.move(TWO, "Target") == Copied(432432, {3: 1202, 7: 1203})
        assert connection.exists == 7


async def test_move_without_the_extension_copies_flags_and_expunges_these_messages_only() -> None:
    async def play(peer: Peer) -> None:
        await selected(peer)
        await peer.answer(b'UID COPY 3,7 "Target"', status=b"OK [COPYUID 5 3,7 2,1] Done")
        await peer.answer(b"UID STORE 3,7 +FLAGS.SILENT (\\Deleted)")
        await peer.answer(b"UID EXPUNGE 3,7", b"* 3 EXPUNGE", b"* 6 EXPUNGE")

    async with session(play, b"UIDPLUS") as connection:
        await connection.select("x")
        assert await connection.move(TWO, "Target") == Copied(5, {3: 2, 7: 1})


@pytest.mark.parametrize("code", ["TRYCREATE", "OVERQUOTA"])
async def test_a_copy_that_fails_expunges_nothing(code: str) -> None:
    """(quirk 47) (trap 30) (trap 33)."""

    async def play(peer: Peer) -> None:
        await selected(peer)
        await peer.answer(b"UID COPY 3,7", status=b"NO [%s] no" % code.encode())
        await peer.answer(b"NOOP")

    async with session(play, b"UIDPLUS") as connection:
        await connection.select("x")
        with pytest.raises(CommandRefused) as caught:
            await connection.move(TWO, "Target")
        assert (caught.value.server_code, caught.value.code) == (code, code)
        await connection.noop()


async def test_without_uidplus_the_mailbox_is_expunged_when_nobody_else_flagged_anything() -> None:
    async def play(peer: Peer) -> None:
        await selected(peer)
        await peer.answer(b"UID STORE 3,7 +FLAGS.SILENT (\\Deleted)")
        await peer.answer(b"UID SEARCH DELETED", b"* SEARCH 3 7")
        await peer.answer(b"EXPUNGE", b"* 3 EXPUNGE", b"* 6 EXPUNGE")

    async with session(play) as connection:
        await connection.select("x")
        assert await connection.expunge_uids(TWO) is True


async def test_without_uidplus_messages_that_others_flagged_are_not_expunged_along() -> None:
    async def play(peer: Peer) -> None:
        await selected(peer)
        await peer.answer(b"UID STORE 3,7 +FLAGS.SILENT (\\Deleted)")
        await peer.answer(b"UID SEARCH DELETED", b"* SEARCH 3 5 7")
        await peer.answer(b"NOOP")

    async with session(play) as connection:
        await connection.select("x")
        assert await connection.expunge_uids(TWO) is False
        await connection.noop()


async def test_nothing_is_copied_out_of_a_mailbox_that_can_not_let_go() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"SELECT", b"* 9 EXISTS", b"* OK [PERMANENTFLAGS (\\Seen)] x")
        await peer.answer(b"NOOP")

    async with session(play, b"UIDPLUS") as connection:
        await connection.select("x")
        with pytest.raises(CommandRefused, match="can not be deleted"):
            await connection.move(TWO, "Target")
        await connection.noop()


async def test_a_set_of_flags_of_which_nothing_is_left_does_not_clear_all() -> None:
    """(quirk 48) (trap 31)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"SELECT", b"* 9 EXISTS", b"* OK [PERMANENTFLAGS (\\Seen)] x")
        await peer.answer(b"UID STORE 3 FLAGS.SILENT (\\Seen)")
        await peer.answer(b"UID STORE 3 FLAGS.SILENT ()")
        await peer.answer(b"NOOP")

    async with session(play) as connection:
        await connection.select("x")
        one = [UidRange(3, 3)]
        await connection.replace_flags(one, ["$Other", "\\Recent"])
        await connection.replace_flags(one, ["\\Seen", "$Other"])
        await connection.replace_flags(one, [])
        await connection.noop()


async def test_labels_are_stored_as_system_labels_or_as_quoted_names() -> None:
    async def play(peer: Peer) -> None:
        await selected(peer)
        await peer.answer(b'UID STORE 3 +X-GM-LABELS.SILENT (\\Inbox "Gr&APw-n" "a \\"b\\")")')
        await peer.answer(b'UID STORE 3 -X-GM-LABELS.SILENT ("x")')

    async with session(play, b"X-GM-EXT-1") as connection:
        await connection.select("x")
        one = [UidRange(3, 3)]
        await connection.store_labels(one, "+", ["\\Inbox", "Grün", 'a "b")'])
        await connection.store_labels(one, "-", ["x"])
        with pytest.raises(BadInput):
            await connection.store_labels(one, "+", ["a\r\nA1 LOGOUT"])


async def test_the_target_of_a_server_that_does_not_know_utf7_is_found() -> None:
    async def play(peer: Peer) -> None:
        await selected(peer)
        await peer.answer(b'UID MOVE 3 "Entw&APw-rfe"', status=b"NO [TRYCREATE] unknown")
        tag = await peer.command(b"UID MOVE 3 {9}")
        peer.send(b"+ go on")
        assert await peer.literal(11) == "Entwürfe\r\n".encode()
        peer.send(tag + b" OK done")

    async with session(play, b"MOVE") as connection:
        await connection.select("x")
        assert await connection.move([UidRange(3, 3)], "Entwürfe") == Copied()


def test_the_order_of_copyuid_is_kept() -> None:
    status = Status("OK", code="COPYUID", argument="38505 304,319:320 3956:3957,12")
    assert parse_copy_uid(status, 3) == Copied(38505, {304: 3956, 319: 3957, 320: 12})


@pytest.mark.parametrize(
    "argument", ["", "1 2", "1 2 3 4", "1 2 3:4", "x 2 3", "1 2:* 3", "1 1:4294967295 1:4294967295", "0 1 1"]
)
def test_a_copyuid_that_makes_no_sense_is_as_none(argument: str) -> None:
    assert parse_copy_uid(Status("OK", code="COPYUID", argument=argument), 2) == Copied()


@given(st.text(alphabet="0123456789:,* x", max_size=40))
def test_no_copyuid_raises_or_tells_of_more_than_was_asked(argument: str) -> None:
    assert len(parse_copy_uid(Status("OK", code="COPYUID", argument=argument), 5).uids) <= 5
