"""When a failed delivery is tried again, and when it is given up."""

import pytest

from postbus.webhooks.retries import RetrySchedule


def test_the_schedule_grows_to_its_longest_gap_and_ends_at_the_deadline() -> None:
    schedule = RetrySchedule()
    assert [schedule.gap_s(failures, 0) for failures in (1, 2, 3, 11, 90)] == [5, 10, 20, 3600, 3600]
    assert schedule.gap_s(1, 1) == pytest.approx(4)
    assert schedule.next_try(0, 90, 72 * 3600 - 60, 0) == 72 * 3600
