"""When to try again: growing gaps, drawn a little shorter so that many do not come back at once."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from postbus.common.jobs import Submission

MAX_COUNTED_ATTEMPTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Gaps double from `first` to `longest`; each is shortened by up to the share `jitter`."""

    first: timedelta = timedelta(seconds=5)
    longest: timedelta = timedelta(hours=1)
    jitter: float = 0.2

    def gap(self, attempt: int) -> timedelta:
        """The longest wait after this attempt, counted from 1."""
        return min(self.first * (1 << min(attempt - 1, 40)), self.longest)

    def next_attempt(self, submission: Submission, at: datetime) -> datetime | None:
        """When to try again after an attempt that failed now; None when attempts or time are used up."""
        if submission.attempts_limit is not None and submission.attempt >= submission.attempts_limit:
            return None
        shorten = random.uniform(0, self.jitter)  # noqa: S311 - spreads load, no secret
        due = at + self.gap(submission.attempt) * (1 - shorten)
        return due if due <= submission.deadline else None

    def attempts(self, submission: Submission) -> int:
        """How many attempts there can be in all: the limit, or what fits before the deadline."""
        if submission.attempts_limit is not None:
            return max(submission.attempts_limit, 1)
        left = submission.deadline - submission.created
        count = 1
        while count < MAX_COUNTED_ATTEMPTS and (left := left - self.gap(count)) >= timedelta():
            count += 1
        return max(count, submission.attempt)
