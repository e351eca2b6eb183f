"""When a delivery is tried again: growing gaps, until the deadline or the number of attempts, whichever ends first."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from postbus.common.jobs import Envelope, Submission
from postbus.sender.retry import RetryPolicy

START = datetime(2026, 11, 25, tzinfo=UTC)
POLICY = RetryPolicy()


def submission(**changes: Any) -> Submission:
    values: dict[str, Any] = {
        "queue_id": "q",
        "account": "a",
        "message_id": "<x@y>",
        "envelope": Envelope(sender="", recipients=("b@c",)),
        "created": START,
        "send_at": START,
        "deadline": START + timedelta(days=3),
        "size": 1,
    }
    return Submission(**{**values, **changes})


@given(st.integers(1, 10_000))
def test_gaps_grow_to_an_hour_and_are_drawn_up_to_a_fifth_shorter(attempt: int) -> None:
    due = POLICY.next_attempt(submission(attempt=attempt), START)
    assert due is not None
    gap = min(timedelta(seconds=5 * 2 ** min(attempt - 1, 20)), timedelta(hours=1))
    assert gap * 0.8 <= due - START <= gap


def test_an_explicit_number_of_attempts_ends_the_retries() -> None:
    assert POLICY.next_attempt(submission(attempt=2, attempts_limit=3), START) is not None
    assert POLICY.next_attempt(submission(attempt=3, attempts_limit=3), START) is None
    assert POLICY.next_attempt(submission(attempt=1, attempts_limit=0), START) is None


def test_the_deadline_ends_the_retries_even_where_attempts_are_left() -> None:
    late = START + timedelta(days=3) - timedelta(seconds=1)
    assert POLICY.next_attempt(submission(attempt=20, attempts_limit=99), late) is None


def test_the_number_of_attempts_is_the_limit_or_what_fits_before_the_deadline() -> None:
    assert POLICY.attempts(submission(attempts_limit=4)) == 4
    assert POLICY.attempts(submission(attempts_limit=0)) == 1
    assert 70 <= POLICY.attempts(submission()) <= 90
    assert POLICY.attempts(submission(deadline=START)) == 1
