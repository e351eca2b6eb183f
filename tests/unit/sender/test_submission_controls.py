"""Control headers, and how long a wrong password waits."""

from datetime import UTC, datetime

import pytest

from postbus.common.errors import BadInput
from postbus.sender.submission.controls import Controls, read_controls
from postbus.sender.submission.guard import FORGIVEN_AFTER_S, REMEMBERED, Guard
from postbus.sender.submission.limits import SubmissionLimits

CHRISTMAS = datetime(2026, 12, 24, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "1798102800000",
        "2026-12-24T09:00:00Z",
        "2026-12-24T09:00:00.000Z",
        "2026-12-24T10:00:00+01:00",
        "2026-12-24 09:00",
        "Thu, 24 Dec 2026 09:00:00 +0000",
        " Thu, 24 Dec 2026 10:00:00 +0100 (CET) ",
    ],
)
def test_a_time_is_read_as_milliseconds_and_as_any_date(text: str) -> None:
    assert read_controls({"x-ee-send-at": text}).send_at == CHRISTMAS


@pytest.mark.parametrize("text", ["soon", "-1", "9" * 16, "2026-13-01", "1e3", "0000-01-01"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        read_controls({"x-ee-send-at": text})


def test_all_else_that_is_said() -> None:
    given = {"x-ee-delivery-attempts": "3", "x-ee-idempotency-key": " k ", "x-ee-account": "anna", "x-ee-gateway": ""}
    assert read_controls(given) == Controls(attempts=3, idempotency_key="k", account="anna")
    assert read_controls({"x-ee-tracking-enabled": "yes", "x-ee-unknown": "1"}) == Controls()


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-ee-delivery-attempts", "1001"), ("x-ee-delivery-attempts", "-1"), ("x-ee-idempotency-key", "k" * 1025)],
)
def test_values_beyond_their_bounds_are_refused(name: str, value: str) -> None:
    with pytest.raises(BadInput):
        read_controls({name: value})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_failures_of_one_address_cost_it_more_and_more_and_are_forgiven() -> None:
    clock = Clock()
    guard = Guard(SubmissionLimits(login_delay_s=1, longest_delay_s=8), clock)
    assert [guard.fail("a") for _ in range(6)] == [1, 2, 4, 8, 8, 8]
    assert guard.fail("b") == 1
    clock.now = FORGIVEN_AFTER_S
    assert guard.fail("a") == 1


def test_addresses_without_number_take_no_memory_without_bound() -> None:
    guard = Guard(SubmissionLimits(), Clock())
    for number in range(REMEMBERED + 10):
        guard.fail(str(number))
    assert len(guard._failures) == REMEMBERED


def test_who_has_logged_in_leaves_room_for_strangers() -> None:
    guard = Guard(SubmissionLimits(connections=3, strangers=1), Clock())
    assert guard.admit("a") and not guard.admit("a")
    guard.know("a")
    assert guard.admit("a") and guard.admit("b") and not guard.admit("c")
    guard.leave("b", stranger=True)
    guard.leave("a", stranger=False)
    assert guard.admit("c") and not guard.admit("a")
    assert guard.connections == 2
