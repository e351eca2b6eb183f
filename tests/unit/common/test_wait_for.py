"""Waiting with a limit never loses a cancellation (what Python 3.11's own `wait_for` does)."""

import asyncio

import pytest

from postbus.common.wait_for import wait_for

pytestmark = pytest.mark.anyio


async def test_a_cancellation_that_comes_as_the_result_does_is_not_lost() -> None:
    result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait_for(result, 10))
    await asyncio.sleep(0)
    result.set_result(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_libraries_get_this_one() -> None:
    assert asyncio.wait_for.__module__ in (wait_for.__module__, "asyncio.tasks")
    result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(asyncio.wait_for(result, 10))
    await asyncio.sleep(0)
    result.set_result(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_result_in_time_is_returned() -> None:
    assert await wait_for(asyncio.sleep(0.001, "done"), 10) == "done"
    assert await wait_for(asyncio.sleep(0, "done"), None) == "done"


async def test_after_the_time_what_was_waited_for_is_cancelled() -> None:
    never = asyncio.create_task(asyncio.sleep(3600))
    with pytest.raises(TimeoutError):
        await wait_for(never, 0.001)
    assert never.cancelled()


@pytest.mark.parametrize("timeout", [0, -1])
async def test_no_time_at_all_takes_only_what_is_there(timeout: float) -> None:
    there: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    there.set_result("there")
    assert await wait_for(there, timeout) == "there"
    with pytest.raises(TimeoutError):
        await wait_for(asyncio.sleep(3600), timeout)
