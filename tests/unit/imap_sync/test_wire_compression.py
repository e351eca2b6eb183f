"""COMPRESS=DEFLATE (RFC 4978): both directions, only where it saves something, and no bomb goes off (trap 36)."""

import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import ConnectionLost, PostbusError, ProtocolError
from postbus.imap_sync import profiles
from postbus.imap_sync.protocol.values import UidRange
from postbus.imap_sync.wire import wire
from postbus.imap_sync.wire.deflating import FREE, PIECE, Inflater
from tests.unit.imap_sync.scripted_imap import Peer, session

CAPABILITY = b"COMPRESS=DEFLATE"


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the scripted server were not on this machine."""
    monkeypatch.setattr(wire.Wire, "is_near", False)
    yield


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
async def test_plain_text_behind_the_answer_ends_the_connection() -> None:
    async def play(peer: Peer) -> None:
        tag = await peer.command(b"COMPRESS DEFLATE")
        peer.writer.write(tag + b" OK go\r\n* 1 EXISTS\r\n")
        await peer.gone()

    async with session(play, CAPABILITY) as connection:
        with pytest.raises((ProtocolError, ConnectionLost)):
            await connection.compress()


def test_a_bomb_is_refused_before_it_fills_the_memory() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = bomb.compress(bytes(300 * 1024 * 1024)) + bomb.flush()
    inflater = Inflater()
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        for start in range(0, len(packed), 4096):
            for _ in inflater.feed(packed[start : start + 4096]):
                pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < FREE


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 100, 3 * PIECE, 3 * PIECE + 1])
def test_nothing_is_held_back_at_the_end_of_a_piece(size: int) -> None:
    pack = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = b"ab" * (size // 2) + b"c" * (size % 2)
    packed = pack.compress(data) + pack.flush(zlib.Z_SYNC_FLUSH)
    assert b"".join(Inflater().feed(packed)) == data


@given(st.lists(st.binary(max_size=3000), max_size=10), st.integers(1, 500))
def test_however_the_network_cuts_it_the_same_comes_out(parts: list[bytes], size: int) -> None:
    pack = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = b"".join(pack.compress(part) + pack.flush(zlib.Z_SYNC_FLUSH) for part in parts)
    inflater = Inflater()
    pieces = [piece for at in range(0, len(packed), size) for piece in inflater.feed(packed[at : at + size])]
    assert b"".join(pieces) == b"".join(parts)
