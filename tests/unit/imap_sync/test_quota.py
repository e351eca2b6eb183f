"""RFC 9208: how much a user may store, as servers tell it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import ProtocolError
from postbus.imap_sync.protocol.quota import parse_quota
from postbus.imap_sync.protocol.values import Quota
from tests.unit.imap_sync.scripted_imap import Peer, session


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        (b'"" (STORAGE 10 512)', Quota(10_240, 524_288)),
        (b'"User quota" (MESSAGE 5 1000 storage 0 1)', Quota(0, 1024)),
        (b'"" (MESSAGE 5 1000)', None),
        (b'"" (STORAGE 10 0)', None),
        (b'"" (STORAGE 10)', None),
        (b'"" ()', None),
        (b"", None),
    ],
)
def test_storage_is_told_in_bytes(text: bytes, quota: Quota | None) -> None:
    assert parse_quota([text], 0) == quota


@given(st.binary(max_size=60))
def test_nonsense_is_no_quota(text: bytes) -> None:
    try:
        parse_quota([text], 0)
    except ProtocolError:
        pass


@pytest.mark.anyio
async def test_the_first_root_with_a_limit_counts() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(
            b'GETQUOTAROOT "INBOX"',
            b"* QUOTAROOT INBOX a b",
            b"* QUOTA a (MESSAGE 1 2)",
            b"* QUOTA b (STORAGE 1 2)",
            b"* QUOTA c (STORAGE 3 4)",
        )

    async with session(play, b"QUOTA") as connection:
        assert await connection.quota() == Quota(1024, 2048)


@pytest.mark.anyio
async def test_a_server_without_the_extension_is_not_asked() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"NOOP")

    async with session(play, b"IDLE") as connection:
        assert await connection.quota() is None
        await connection.noop()
