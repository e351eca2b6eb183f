"""COMPRESS=DEFLATE (RFC 4978): both directions, only where it saves something, and no bomb goes off (trap 36)."""

import asyncio
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import ConnectionLost, PostbusError, ProtocolError
from postbus.imap_sync import profiles
from postbus.imap_sync.connection import Endpoint, open_connection
from postbus.imap_sync.mailbox_state import refusals_of
from postbus.imap_sync.protocol.values import Fetched, UidRange
from postbus.imap_sync.wire import wire
from postbus.imap_sync.wire.deflating import PIECE, Inflater
from postbus.imap_sync.wire.inflow import Inflow
from tests.unit.imap_sync.scripted_imap import PREAUTH, Peer, scripted, session

CAPABILITY = b"COMPRESS=DEFLATE"


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the scripted server were not on this machine."""
    monkeypatch.setattr(wire.Wire, "is_near", False)
    yield


def unpack(inflater: Inflater, data: bytes) -> Iterator[bytes]:
    """All pieces."""
    rest: bytes | None = data
    while rest is not None:
        piece, rest = inflater.unpack(rest)
        yield piece


class Packed:
    """The server's end of a connection that is compressed."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._pack = zlib.compressobj(6, zlib.DEFLATED, -15)
        self._unpack = zlib.decompressobj(-15)

    async def line(self) -> bytes:
        got = b""
        while not got.endswith(b"\r\n"):
            got += self._unpack.decompress(await self.peer.reader.read(65536))
        return got[:-2]

    def send(self, *lines: bytes) -> None:
        data = b"".join(line + b"\r\n" for line in lines)
        self.peer.writer.write(self._pack.compress(data) + self._pack.flush(zlib.Z_SYNC_FLUSH))


@pytest.mark.anyio
@pytest.mark.usefixtures("far")
async def test_after_the_answer_everything_is_packed_in_both_directions() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"COMPRESS DEFLATE")
        packed = Packed(peer)
        for count in (3, 40_000):
            tag = (await packed.line()).split()[0]
            rows = [b"* %d FETCH (UID %d FLAGS (\\Seen))" % (uid, uid) for uid in range(1, count + 1)]
            packed.send(*rows, tag + b" OK done")

    async with session(play, CAPABILITY) as connection:
        assert await connection.compress()
        assert len(await connection.fetch_flags_compact([UidRange(1, 3)])) == 3
        assert len(await connection.fetch_flags_compact([UidRange(1, 40_000)])) == 40_000


@pytest.mark.anyio
async def test_a_server_in_our_own_network_is_not_asked() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"NOOP")

    async with session(play, CAPABILITY) as connection:
        assert not await connection.compress()
        await connection.noop()


@pytest.mark.anyio
@pytest.mark.usefixtures("far")
async def test_the_profile_of_a_provider_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"NOOP")

    monkeypatch.setattr(profiles, "_BY_DOMAIN", {"0.0.1": profiles.JAMES})
    async with session(play, CAPABILITY) as connection:
        assert not await connection.compress()
        await connection.noop()


@pytest.mark.anyio
@pytest.mark.usefixtures("far")
async def test_a_server_that_refuses_goes_on_plainly() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"COMPRESS DEFLATE", status=b"NO [COMPRESSIONACTIVE] TLS does it")
        await peer.answer(b"NOOP")

    async with session(play, CAPABILITY) as connection:
        assert not await connection.compress()
        await connection.noop()


@pytest.mark.anyio
@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("sent", [b"plain text\r\n", zlib.compress(b"with a header")], ids=["plain", "zlib"])
async def test_what_can_not_be_unpacked_ends_the_connection(sent: bytes) -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"COMPRESS DEFLATE")
        await peer.reader.read(1)
        peer.writer.write(b"\xff" + sent)
        await peer.gone()

    async with session(play, CAPABILITY) as connection:
        assert await connection.compress()
        with pytest.raises(PostbusError):
            await connection.noop()
        assert connection.closed


@pytest.mark.anyio
@pytest.mark.usefixtures("far")
async def test_plain_text_behind_the_answer_ends_the_connection_and_the_next_one_goes_without() -> None:
    refusals_of.cache_clear()

    async def play(peer: Peer) -> None:
        peer.send(PREAUTH % CAPABILITY)
        tag, _, command = (await peer.line()).partition(b" ")
        if command == b"COMPRESS DEFLATE":
            peer.writer.write(tag + b" OK go\r\n* 1 EXISTS\r\n")
            await peer.gone()
        else:
            peer.send(tag + b" OK done")

    async with scripted(play) as port:
        endpoint = Endpoint("127.0.0.1", port, secure=False)
        connection = await open_connection(endpoint, None)
        with pytest.raises((ProtocolError, ConnectionLost)):
            await connection.compress()
        connection = await open_connection(endpoint, None)
        assert not await connection.compress()
        await connection.noop()
        connection.abort()


def test_a_bomb_is_unpacked_in_small_pieces() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = bomb.compress(bytes(50 * 1024 * 1024)) + bomb.flush()
    tracemalloc.start()
    assert sum(map(len, unpack(Inflater(), packed))) == 50 * 1024 * 1024
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1024 * 1024


class Line(asyncio.Transport):
    """Knows whether the server may send."""

    paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


@pytest.mark.anyio
async def test_what_is_still_packed_waits_for_the_next_turn_and_the_server_with_it() -> None:
    taken: list[bytes] = []

    def take(data: bytes) -> bytes | None:
        taken.append(data)
        return data[1:] or None

    inflow, line = Inflow(asyncio.get_running_loop(), take, lambda _: True), Line()
    inflow.attach(line)
    inflow.receive(b"abc")
    assert (taken, line.paused, inflow.empty) == ([b"abc"], True, False)
    while line.paused:
        await asyncio.sleep(0)
    assert (taken, inflow.empty) == ([b"abc", b"bc", b"c"], True)


@pytest.mark.anyio
@pytest.mark.usefixtures("far")
async def test_what_packs_well_is_no_bomb() -> None:
    """An attachment full of zeros packs a thousand to one."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"COMPRESS DEFLATE")
        packed = Packed(peer)
        tag = (await packed.line()).split()[0]
        packed.send(b"* 1 FETCH (UID 1 BODY[]<0> {12000000}", b"A" * 12_000_000 + b")", tag + b" OK done")

    async with session(play, CAPABILITY) as connection:
        assert await connection.compress()
        [row] = [row async for row in connection.fetch([UidRange(1, 1)], ("UID", "BODY.PEEK[]<0.12000000>"))]
        assert isinstance(row, Fetched) and len(row.sections[""]) == 12_000_000


def test_nothing_may_come_behind_the_end() -> None:
    pack = zlib.compressobj(6, zlib.DEFLATED, -15)
    inflater = Inflater()
    assert inflater.unpack(pack.compress(b"bye") + pack.flush()) == (b"bye", None)
    with pytest.raises(ProtocolError):
        inflater.unpack(b"more")


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 100, 3 * PIECE, 3 * PIECE + 1])
def test_nothing_is_held_back_at_the_end_of_a_piece(size: int) -> None:
    pack = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = b"ab" * (size // 2) + b"c" * (size % 2)
    packed = pack.compress(data) + pack.flush(zlib.Z_SYNC_FLUSH)
    assert b"".join(unpack(Inflater(), packed)) == data


@given(st.lists(st.binary(max_size=3000), max_size=10), st.integers(1, 500))
def test_however_the_network_cuts_it_the_same_comes_out(parts: list[bytes], size: int) -> None:
    pack = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = b"".join(pack.compress(part) + pack.flush(zlib.Z_SYNC_FLUSH) for part in parts)
    inflater = Inflater()
    pieces = [piece for at in range(0, len(packed), size) for piece in unpack(inflater, packed[at : at + size])]
    assert b"".join(pieces) == b"".join(parts)
