"""Waiting for news: by IDLE, and on servers that have none, or refuse it, by a look now and then."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.profiles import NETEASE, OUTLOOK, Profile
from tests.unit.imap_sync.scripted_imap import Peer, Play, session

pytestmark = pytest.mark.anyio

QUICK = Profile(poll_s=0.01)


@asynccontextmanager
async def profiled(play: Play, profile: Profile, capabilities: bytes = b"") -> AsyncIterator[ImapConnection]:
    async with session(play, capabilities) as connection:
        connection._state.profile = profile
        yield connection


async def answer_select(peer: Peer, exists: int) -> None:
    await peer.answer(b"EXAMINE", b"* %d EXISTS" % exists, b"* OK [UIDVALIDITY 1] ok", b"* OK [UIDNEXT 9] ok")


async def test_without_idle_noop_looks_for_news() -> None:
    """(quirk 53)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"IDLE", status=b"BAD unknown command")
        await peer.answer(b"NOOP", b"* 3 EXISTS")

    async with profiled(play, QUICK, b"IDLE") as connection:
        await connection.idle(max_s=60)
        await connection.idle(max_s=60)
        assert connection.exists == 3


async def test_a_server_without_idle_is_asked_as_often_as_its_provider_bears() -> None:
    """Exchange and others that do not offer IDLE."""
    looks = 0

    async def play(peer: Peer) -> None:
        nonlocal looks
        while line := await peer.line():
            tag, _, command = line.partition(b" ")
            assert command == b"NOOP"
            looks += 1
            peer.send(tag + b" OK done")

    async with profiled(play, Profile(poll_s=0.05)) as connection:
        await connection.idle(max_s=0.18)
        assert 1 <= looks <= 3  # 3 where the machine has time for it
    assert OUTLOOK.poll_s <= 60


async def test_163_is_looked_at_by_status_and_news_end_the_waiting() -> None:
    """(trap 3) NOOP is no sign of life there, and tells nothing."""

    async def play(peer: Peer) -> None:
        await answer_select(peer, 2)
        await peer.answer(b'STATUS "INBOX"', b"* STATUS INBOX (MESSAGES 2 UIDNEXT 9 UIDVALIDITY 1 UNSEEN 0)")
        await peer.answer(b'STATUS "INBOX"', b"* STATUS INBOX (MESSAGES 3 UIDNEXT 10 UIDVALIDITY 1 UNSEEN 1)")

    profile = Profile(poll_s=0.01, keepalive=NETEASE.keepalive)
    async with profiled(play, profile) as connection:
        await connection.select("INBOX", read_only=True)
        await asyncio.wait_for(connection.idle(max_s=60), 5)


async def test_what_changed_before_the_first_status_is_seen_by_its_count() -> None:
    async def play(peer: Peer) -> None:
        await answer_select(peer, 2)
        await peer.answer(b'STATUS "INBOX"', b"* STATUS INBOX (MESSAGES 3 UIDNEXT 10 UIDVALIDITY 1 UNSEEN 1)")

    async with profiled(play, Profile(poll_s=0.01, keepalive=NETEASE.keepalive)) as connection:
        await connection.select("INBOX", read_only=True)
        await asyncio.wait_for(connection.idle(max_s=60), 5)


async def test_who_wants_something_else_ends_the_waiting_for_the_next_look() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"NOOP")

    async with profiled(play, Profile(poll_s=60.0)) as connection:
        waiting = asyncio.create_task(connection.idle(max_s=60))
        await asyncio.sleep(0.05)
        await connection.interrupt()
        await asyncio.wait_for(waiting, 5)


async def test_who_wants_something_else_ends_an_idle() -> None:
    idling = asyncio.Event()

    async def play(peer: Peer) -> None:
        tag = await peer.command(b"IDLE")
        peer.send(b"+ idling")
        idling.set()
        assert await peer.line() == b"DONE"
        peer.send(tag + b" OK done")
        await peer.answer(b"NOOP")

    async with profiled(play, QUICK, b"IDLE") as connection:
        waiting = asyncio.create_task(connection.idle(max_s=60))
        await idling.wait()
        await connection.interrupt()
        await asyncio.wait_for(waiting, 5)


async def test_163_is_told_who_we_are_before_anything_is_selected_though_it_does_not_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """(trap 4)"""

    async def play(peer: Peer) -> None:
        await peer.answer(b'ID ("name" "Postbus"')
        await answer_select(peer, 0)

    monkeypatch.setattr("postbus.imap_sync.beginning.profile_of_host", lambda _: NETEASE)
    async with session(play) as connection:
        await connection.select("INBOX", read_only=True)
