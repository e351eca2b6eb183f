"""What made aioimaplib 2.0.3 hang, mix up or die is ordinary here: each finding of the study is a test."""

import asyncio
import importlib.metadata
import inspect
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from aioimaplib import aioimaplib
from hypothesis import given, settings
from hypothesis import strategies as st

from postbus.common.errors import CommandRefused, ConnectionLost, DeadlineExceeded, PostbusError, ProtocolError
from postbus.imap_sync import wire
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.protocol.values import Fetched, UidRange
from postbus.imap_sync.wire import connect, sending
from tests.unit.imap_sync.scripted_imap import Peer, scripted, session

pytestmark = pytest.mark.anyio

SCRAPS = [
    *(
        b"TAG OK done\r\n",
        b"TAG NO [X (] no\r\n",
        b"* 3 EXISTS\r\n",
        b"* 1 EXPUNGE\r\n",
        b"* VANISHED 1:4294967295\r\n",
    ),
    *(
        b"* SEARCH 1 2\r\n",
        b"* ESEARCH (TAG x) UID ALL 1\r\n",
        b"+ go\r\n",
        b"* BYE\r\n",
        b"* 1 FETCH (UID 1 FLAGS (a))\r\n",
    ),
    *(
        b"* 1 FETCH (((\r\n",
        b"* LIST () {2}\r\n",
        b"* STATUS x (MESSAGES 1)\r\n",
        b"\0",
        b"\r\n",
        b"* OK [UIDNEXT 4] x\r\n",
    ),
    *(b"garbage", b'"', b"* LIST () NIL x\r\n", b"* CAPABILITY IDLE\r\n", b"TAG BYE\r\n", b"* 99999999999 EXISTS\r\n"),
]
EVERYTHING = [UidRange(1, 10_000)]
AT_ONCE_S = 1.0


def test_the_names_of_aioimaplib_that_we_rely_on_are_there() -> None:
    """Its private names may change with any release: look at wire.py before raising the pin."""
    assert importlib.metadata.version("aioimaplib") == "2.0.3"
    command = inspect.getsource(aioimaplib.Command)
    for name in (
        "_exception",
        "_event",
        "_timeout",
        "_timer",
        "_loop",
        "_set_timer",
        "_reset_timer",
        "_timeout_callback",
    ):
        assert name in command, name
    assert inspect.signature(aioimaplib.Command.close).parameters.keys() == {"self", "line", "result"}
    protocol = inspect.getsource(aioimaplib.IMAP4ClientProtocol)
    for name in (
        "self.transport",
        "self.state",
        "def new_tag",
        "def execute",
        "def connection_lost",
        "def data_received",
    ):
        assert name in protocol, name
    client = inspect.getsource(aioimaplib.IMAP4)
    for name in (
        "self.create_client(host, port, loop, conn_lost_cb, ssl_context)",
        "self._client_task",
        "self.protocol",
    ):
        assert name in client, name


async def test_fifty_thousand_lines_in_one_packet_are_read() -> None:
    async def play(peer: Peer) -> None:
        rows = [b"* %d FETCH (UID %d FLAGS (\\Seen))" % (seq, seq) for seq in range(1, 50_001)]
        await peer.answer(b"UID FETCH 1:50000 (UID FLAGS)", *rows)

    async with session(play) as connection:
        started = time.process_time()
        found = await connection.fetch_flags_compact([UidRange(1, 50_000)])
        assert time.process_time() - started < 2.0  # 0.2 s on a quiet machine, the scripted server included
        assert len(found) == 50_000
        assert found[0][1] is found[-1][1]


async def test_parentheses_in_quotes_do_not_glue_messages_together() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(
            b"UID FETCH 1:10000 (UID ENVELOPE)",
            b'* 1 FETCH (UID 1 ENVELOPE (NIL "smile :(" ((NIL NIL "a" "b.c")) NIL NIL NIL NIL NIL NIL NIL))',
            b"* 5 EXISTS",
            b'* 2 FETCH (UID 2 ENVELOPE (NIL "ok" ((NIL NIL "a" "b.c")) NIL NIL NIL NIL NIL NIL NIL))',
        )

    async with session(play) as connection:
        rows = [row async for row in connection.fetch(EVERYTHING, ("UID", "ENVELOPE"))]
        assert [row.uid for row in rows if isinstance(row, Fetched)] == [1, 2]
        assert connection.exists == 5


async def test_names_with_stars_arrive_whole() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b'LIST "" "*"', b'* LIST () "/" "a* b* c"', b'* LIST () "/" INBOX')
        await peer.answer(b'LSUB "" "*"', b'* LSUB () "/" INBOX')

    async with session(play) as connection:
        listed = await connection.list_mailboxes(with_status=False)
        assert {row.path: "\\subscribed" in row.attributes for row in listed} == {"a* b* c": False, "INBOX": True}


async def test_a_listing_knows_whether_it_left_a_row_out() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b'LIST "" "*"', b'* LIST () "/" INBOX', b'* LIST () "/"', b'* LIST () "/" Work')
        await peer.answer(b'LSUB "" "*"')
        await peer.answer(b'LIST "" "*"', b'* LIST () "/" INBOX', b'* LIST () "/" Work')
        await peer.answer(b'LSUB "" "*"')

    async with session(play) as connection:
        for complete in (False, True):
            assert [row.path for row in await connection.list_mailboxes(with_status=False)] == ["INBOX", "Work"]
            assert connection.listing_complete is complete


async def test_a_literal_may_look_like_the_tagged_answer() -> None:
    async def play(peer: Peer) -> None:
        tag = await peer.command(b"UID FETCH 7 (UID BODY.PEEK[]<0.1000>)")
        body = tag + b" OK done\r\n* BYE x\r\n"
        peer.send(b"* 1 FETCH (UID 7 BODY[]<0> {%d}\r\n" % len(body) + body + b" FLAGS ())", tag + b" OK done")

    async with session(play) as connection:
        pieces = [piece async for piece in connection.stream_section(7, "", chunk_size=1000)]
        assert b"".join(pieces).endswith(b" OK done\r\n* BYE x\r\n")


async def test_news_during_any_command_is_kept() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"SELECT", b"* 10 EXISTS", b"* OK [UIDVALIDITY 1] x")
        await peer.answer(
            b"UID SEARCH", b"* SEARCH 1 2", b"* 9 EXPUNGE", b"* VANISHED 4:5", b"* 12 EXISTS", b"* 1 EXPUNGE"
        )
        await peer.answer(b"NOOP", b"* VANISHED (EARLIER) 1:3")

    async with session(play) as connection:
        await connection.select("INBOX")
        assert connection.exists == 10
        assert await connection.search(["ALL"]) == [UidRange(1, 2)]
        assert connection.exists == 11
        await asyncio.wait_for(connection.idle(max_s=60), AT_ONCE_S)  # news is there already: nothing to wait for
        await connection.noop()
        assert connection.exists == 11


async def test_rows_that_were_not_asked_for_are_news_and_no_answers() -> None:
    """Rows that come in between, also without a uid (trap 17, trap 18, quirk 44)."""

    async def play(peer: Peer) -> None:
        await peer.answer(
            b"UID FETCH 5:6 (UID RFC822.SIZE)",
            b"* 9 FETCH (FLAGS (\\Seen))",
            b"* 5 FETCH (UID 5 FLAGS (\\Seen))",
            b"* 5 FETCH (UID 5 RFC822.SIZE 10)",
            b"* 8 FETCH (UID 8 RFC822.SIZE 10)",
            b'* 6 FETCH (UID 6 RFC822.SIZE 11 ENVELOPE ("broken))',
        )

    async with session(play) as connection:
        rows = [row async for row in connection.fetch([UidRange(5, 6)], ("UID", "RFC822.SIZE"))]
        assert rows == [Fetched(5, uid=5, size=10), Fetched(6, uid=6, broken=True)]
        await asyncio.wait_for(connection.idle(max_s=60), AT_ONCE_S)


async def test_four_callers_at_once_get_their_own_answers() -> None:
    async def play(peer: Peer) -> None:
        for _ in range(4):
            tag, _, rest = (await peer.line()).partition(b" ")
            uid = int(rest.split()[2])
            peer.send(b"* SEARCH %d" % uid, tag + b" OK")

    async with session(play) as connection:
        found = await asyncio.gather(*(connection.search([str(uid)]) for uid in (3, 4, 5, 6)))
        assert found == [[UidRange(uid, uid)] for uid in (3, 4, 5, 6)]


async def test_a_closed_connection_fails_everybody_at_once() -> None:
    async def play(peer: Peer) -> None:
        await peer.command(b"NOOP")
        peer.close()

    async with session(play) as connection:
        async with asyncio.timeout(AT_ONCE_S):
            results = await asyncio.gather(*(connection.noop() for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [ConnectionLost] * 3
        assert connection.closed


@pytest.mark.parametrize("prompt", [True, False])
async def test_a_closed_connection_ends_idle_at_once(prompt: bool) -> None:
    async def play(peer: Peer) -> None:
        await peer.command(b"IDLE")
        if prompt:
            peer.send(b"+ idling")
        peer.close()

    async with session(play, b"IDLE") as connection, asyncio.timeout(AT_ONCE_S):
        with pytest.raises(ConnectionLost):
            await connection.idle(max_s=60)


async def test_bye_is_the_end_and_its_text_the_reason() -> None:
    """(quirk 29)."""

    async def play(peer: Peer) -> None:
        await peer.command(b"IDLE")
        peer.send(b"+ idling", b"* BYE [UNAVAILABLE] Shutting down")
        await peer.gone()

    async with session(play, b"IDLE") as connection, asyncio.timeout(AT_ONCE_S):
        with pytest.raises(ConnectionLost, match="Shutting down") as caught:
            await connection.idle(max_s=60)
        assert caught.value.code == "UNAVAILABLE"


async def test_a_bare_line_of_exchange_is_the_end_too() -> None:
    """ "Server Unavailable." in place of a response (quirk 1)."""

    async def play(peer: Peer) -> None:
        await peer.command(b"NOOP")
        peer.send(b"Server Unavailable. 15")
        await peer.gone()

    async with session(play) as connection, asyncio.timeout(AT_ONCE_S):
        with pytest.raises(PostbusError, match="Server Unavailable"):
            await connection.noop()


async def test_a_push_in_the_packet_that_ends_idle_is_not_lost() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"SELECT", b"* 1 EXISTS")
        tag = await peer.command(b"IDLE")
        peer.send(b"+ idling")
        assert await peer.line() == b"DONE"
        peer.send(b"* 2 EXISTS", tag + b" OK idle done")

    async with session(play, b"IDLE") as connection:
        await connection.select("INBOX")
        await connection.idle(max_s=0.05)
        assert connection.exists == 2


async def test_idle_gives_way_to_another_command() -> None:
    async def play(peer: Peer) -> None:
        tag = await peer.command(b"IDLE")
        peer.send(b"+ idling")
        assert await peer.line() == b"DONE"
        peer.send(tag + b" OK")
        await peer.answer(b"NOOP")

    async with session(play, b"IDLE") as connection, asyncio.timeout(AT_ONCE_S), asyncio.TaskGroup() as group:
        group.create_task(connection.idle(max_s=60))
        await asyncio.sleep(0)
        group.create_task(connection.noop())


async def test_a_cancelled_idle_ends_and_leaves_the_connection_usable() -> None:
    started = asyncio.Event()

    async def play(peer: Peer) -> None:
        tag = await peer.command(b"IDLE")
        started.set()
        peer.send(b"+ idling")
        assert await peer.line() == b"DONE"
        peer.send(tag + b" OK")
        await peer.answer(b"NOOP")

    async with session(play, b"IDLE") as connection:
        task = asyncio.create_task(connection.idle(max_s=60))
        await started.wait()
        task.cancel()
        await asyncio.wait([task])
        await connection.noop()


async def test_a_cancelled_caller_leaves_nothing_behind() -> None:
    asked = asyncio.Event()

    async def play(peer: Peer) -> None:
        tag = await peer.command(b"UID SEARCH")
        asked.set()
        await asyncio.sleep(0.05)
        peer.send(b"* SEARCH 1 2 3", tag + b" OK")
        await peer.answer(b"UID SEARCH", b"* SEARCH 9")

    async with session(play) as connection:
        task = asyncio.create_task(connection.search(["ALL"]))
        await asked.wait()
        task.cancel()
        assert await connection.search(["ALL"]) == [UidRange(9, 9)]


async def test_an_answer_that_never_comes_to_a_cancelled_caller_costs_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.command(b"UID SEARCH")
        asked.set()
        await peer.gone()

    monkeypatch.setattr(sending, "DRAIN_S", 0.05)
    async with session(play) as connection:
        task = asyncio.create_task(connection.search(["ALL"]))
        await asked.wait()
        task.cancel()
        with pytest.raises(ConnectionLost):
            await asyncio.wait_for(connection.noop(), AT_ONCE_S)


async def test_an_abandoned_fetch_gives_the_connection_free() -> None:
    async def play(peer: Peer) -> None:
        rows = [b"* %d FETCH (UID %d RFC822.SIZE 1)" % (seq, seq) for seq in range(1, 101)]
        await peer.answer(b"UID FETCH", *rows)
        await peer.answer(b"NOOP")

    async with session(play) as connection:
        async for row in connection.fetch(EVERYTHING, ("UID", "RFC822.SIZE")):
            assert isinstance(row, Fetched) and row.uid == 1
            break
        await asyncio.wait_for(connection.noop(), AT_ONCE_S)


async def test_a_timeout_is_a_deadline_and_closes_the_connection() -> None:
    async def play(peer: Peer) -> None:
        peer.send(b"* OK hi")
        await peer.command(b"NOOP")
        await peer.gone()

    async with scripted(play) as port:
        connected = await connect("127.0.0.1", port, on_untagged=lambda pieces: None)
        with pytest.raises(DeadlineExceeded):
            await connected.run("NOOP", timeout_s=0.05)
        assert connected.closed
        with pytest.raises(ConnectionLost):
            await connected.run("NOOP")


async def test_a_slow_reader_makes_the_server_wait() -> None:
    size, count = 256 * 1024, 64
    sent = 0

    async def play(peer: Peer) -> None:
        nonlocal sent
        tag = await peer.command(b"UID FETCH")
        for uid in range(1, count + 1):
            peer.writer.write(b"* %d FETCH (UID %d BODY[] {%d}\r\n" % (uid, uid, size) + b"x" * size + b")\r\n")
            await peer.writer.drain()
            sent += 1
        peer.send(tag + b" OK")

    async with session(play) as connection:
        seen = 0
        async for row in connection.fetch(EVERYTHING, ("UID", "BODY.PEEK[]")):
            assert isinstance(row, Fetched) and len(row.sections[""]) == size
            seen += 1
            await asyncio.sleep(0.005)
            assert sent - seen < 45  # buffers of both kernels, and about 1 MB of ours
        assert seen == count


async def test_a_tag_that_nobody_waits_for_is_ignored() -> None:
    async def play(peer: Peer) -> None:
        tag = await peer.command(b"NOOP")
        peer.send(b"X1 NO what", b"", b"garbage", tag + b" OK")

    async with session(play) as connection:
        await connection.noop()


async def test_a_refusal_without_tag_fails_the_command() -> None:
    """(quirk 29)."""

    async def play(peer: Peer) -> None:
        await peer.command(b"NOOP")
        peer.send(b"BAD [CLIENTBUG] no idea")

    async with session(play) as connection:
        with pytest.raises(CommandRefused, match="no idea") as caught:
            await connection.noop()
        assert (caught.value.status, caught.value.server_code) == ("BAD", "CLIENTBUG")


async def test_leading_nul_bytes_are_skipped() -> None:
    """(quirk 25)."""

    async def play(peer: Peer) -> None:
        tag = await peer.command(b"UID SEARCH")
        peer.send(b"\0\0* SEARCH 4", b"\0" + tag + b" OK")

    async with session(play) as connection:
        assert await connection.search(["ALL"]) == [UidRange(4, 4)]


@pytest.mark.parametrize(
    "garbage",
    [b"* 1 FETCH (BODY[] {99999999999}\r\n", b"* VANISHED x\r\n", b"+ a\r\n" * 20, b"x" * (5 * 1024 * 1024)],
    ids=["literal", "vanished", "continuations", "line"],
)
async def test_a_server_that_breaks_the_protocol_loses_the_connection(garbage: bytes) -> None:
    """Limits of literals, lines and continuations (quirk 55)."""

    async def play(peer: Peer) -> None:
        await peer.command(b"NOOP")
        peer.writer.write(garbage)
        await peer.gone()

    async with session(play) as connection:
        with pytest.raises(ProtocolError):
            await asyncio.wait_for(connection.noop(), 5)
        assert connection.closed


async def test_a_fetch_of_gone_messages_is_a_success_with_a_gap() -> None:
    """Exchange (quirk 5) (trap 15)."""

    async def play(peer: Peer) -> None:
        await peer.answer(
            b"UID FETCH",
            b"* 1 FETCH (UID 1 RFC822.SIZE 1)",
            status=b"NO Some of the requested messages no longer exist.",
        )

    async with session(play) as connection:
        assert len([row async for row in connection.fetch(EVERYTHING, ("UID", "RFC822.SIZE"))]) == 1


async def test_a_server_that_has_answered_and_reads_no_more_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    over = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.answer(b"APPEND", status=b"NO [OVERQUOTA] full")
        await over.wait()

    monkeypatch.setattr(sending, "ROOM_S", 0.1)
    async with session(play, b"LITERAL+") as connection:
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(connection.append("Sent", b"x" * 30_000_000), 5)
        over.set()


ATTEMPTS: list[Callable[[ImapConnection], Awaitable[object]]] = [
    lambda connection: connection.select("INBOX"),
    lambda connection: connection.search(["ALL"]),
    lambda connection: connection.fetch_flags_compact(EVERYTHING),
    lambda connection: connection.status("INBOX"),
    lambda connection: connection.list_mailboxes(with_status=True),
    lambda connection: connection.idle(max_s=1),
    lambda connection: connection.append("x", b"hello"),
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ATTEMPTS), st.lists(st.sampled_from(SCRAPS), max_size=12))
def test_whatever_a_server_says_ends_in_an_answer_or_one_of_our_errors(
    attempt: Callable[[ImapConnection], Awaitable[object]], scraps: list[bytes]
) -> None:
    async def play(peer: Peer) -> None:
        tag = (await peer.line()).partition(b" ")[0]
        peer.writer.write(b"".join(scrap.replace(b"TAG", tag) for scrap in scraps))
        peer.close()

    async def use() -> None:
        async with session(play, b"IDLE ESEARCH") as connection:
            with suppress(PostbusError):
                await asyncio.wait_for(attempt(connection), 5)

    asyncio.run(use())


def test_only_the_wire_knows_aioimaplib() -> None:
    package = Path(wire.__file__).parents[1]
    knowing = {path.parent.name for path in package.rglob("*.py") if "from aioimaplib" in path.read_text("utf-8")}
    assert knowing == {"wire"}
