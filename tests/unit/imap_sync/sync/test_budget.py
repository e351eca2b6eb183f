"""Connections within limits: of an account, and of a host (trap 41)."""

import asyncio
from typing import Any, cast

import pytest

from postbus.imap_sync.budget import Budget, Slots
from postbus.imap_sync.connection import ImapConnection

pytestmark = pytest.mark.anyio


def connection() -> ImapConnection:
    return cast("ImapConnection", object())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_comes_when_all_are_taken_waits_for_the_first_that_is_closed() -> None:
    slots = Slots(2)
    await slots.take()
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await settle()
    assert slots.crowded
    slots.give()
    await asyncio.wait_for(waiting, 1)
    assert slots.used == 2


async def test_those_who_wait_are_served_in_their_order() -> None:
    slots, order = Slots(1), list[int]()

    async def take(number: int) -> None:
        await slots.take()
        order.append(number)

    await slots.take()
    tasks = [asyncio.create_task(take(number)) for number in range(3)]
    for _ in range(3):
        await settle()
        slots.give()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]


async def test_who_leaves_while_he_waits_takes_nothing_with_him() -> None:
    slots = Slots(1)
    await slots.take()
    leaving, staying = asyncio.create_task(slots.take()), asyncio.create_task(slots.take())
    await settle()
    leaving.cancel()
    await settle()
    slots.give()
    await asyncio.wait_for(staying, 1)
    assert slots.used == 1


async def test_who_is_cancelled_in_the_moment_of_his_turn_gives_it_back() -> None:
    slots = Slots(1)
    await slots.take()
    task = asyncio.create_task(slots.take())
    await settle()
    slots.give()
    task.cancel()
    await settle()
    assert task.cancelled()
    assert slots.used == 0


async def test_a_connection_that_is_only_kept_warm_makes_room() -> None:
    slots, closed = Slots(2), list[str]()

    def give_up(name: str) -> None:
        closed.append(name)
        slots.give()

    for name in ("old", "new"):
        await slots.take()
        slots.offer(name, lambda name=name: give_up(name))  # type: ignore[misc]
    await asyncio.wait_for(slots.take(), 1)
    assert closed == ["old"]
    assert slots.used == 2


async def test_what_is_put_back_while_somebody_waits_is_given_up_at_once() -> None:
    slots = Slots(1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await settle()
    slots.offer("mine", slots.give)
    await asyncio.wait_for(waiting, 1)


async def test_downloads_leave_a_place_to_commands_and_let_them_pass() -> None:
    slots = Slots(2)
    await slots.take(leaving=1)
    download = asyncio.create_task(slots.take(leaving=1))
    await settle()
    await asyncio.wait_for(slots.take(), 1)
    assert not download.done()
    slots.give()
    await settle()
    assert not download.done()
    slots.give()
    await asyncio.wait_for(download, 1)


async def test_a_download_takes_the_place_of_warm_connections_as_those_leave_room_enough() -> None:
    slots = Slots(2)
    for name in ("old", "new"):
        await slots.take()
        slots.offer(name, slots.give)
    await asyncio.wait_for(slots.take(leaving=1), 1)
    assert slots.used == 2


async def test_a_higher_limit_lets_in_who_waits() -> None:
    slots = Slots(1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await settle()
    slots.limit = 2
    await asyncio.wait_for(waiting, 1)


async def test_a_failed_attempt_costs_no_place_in_either_limit() -> None:
    account, host = Slots(1), Slots(1)
    budget = Budget(account, host)

    async def fail() -> Any:
        raise OSError

    for _ in range(3):
        with pytest.raises(OSError):
            await budget.open(fail, spares_last=False)
    assert (account.used, host.used) == (0, 0)


async def test_the_accounts_of_a_host_share_its_limit_and_a_warm_connection_of_one_makes_room_for_another() -> None:
    host = Slots(1)
    one, other = Budget(Slots(3), host), Budget(Slots(3), host)
    made = [connection(), connection()]

    async def connect() -> ImapConnection:
        return made.pop()

    first = await one.open(connect, spares_last=False)
    one.offer(first, lambda: one.closed(first))
    second = await asyncio.wait_for(other.open(connect, spares_last=False), 1)
    assert (one.account.used, other.account.used, host.used) == (0, 1, 1)
    other.closed(second)
    other.closed(second)
    assert host.used == 0


async def test_connections_that_stay_leave_half_of_a_host_to_commands_and_downloads() -> None:
    host = Slots(4)
    budget = Budget(Slots(3), host)

    async def connect() -> ImapConnection:
        return connection()

    first, _second = [await budget.open_watching(connect) for _ in range(2)]
    third = asyncio.create_task(budget.open_watching(connect))
    await settle()
    assert not third.done()
    commands = [await asyncio.wait_for(budget.open(connect, spares_last=False), 1) for _ in range(2)]
    assert (host.used, budget.account.used) == (4, 2)
    for used in (*commands, first, first):
        budget.closed(used)
    await asyncio.wait_for(third, 1)
    assert (host.used, budget.account.used) == (2, 0)
