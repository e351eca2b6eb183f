"""When a failed delivery is tried again, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

JITTER = 0.2  # of a gap, at most, taken off


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """Gaps that double from `first` to `longest`; each event is tried for `window` from its own time in the log."""

    first: timedelta = timedelta(seconds=5)
    longest: timedelta = timedelta(hours=1)
    window: timedelta = timedelta(hours=72)

    def gap_s(self, failures: int, chance: float) -> float:
        """Seconds to wait after this many failures in a row (1 or more); `chance` 0..1 spreads lanes apart."""
        doubled: timedelta = self.first * (1 << min(failures - 1, 32))
        return min(doubled, self.longest).total_seconds() * (1 - JITTER * chance)

    def deadline(self, at: float) -> float:
        """Until when an event of this time (Unix seconds) is tried."""
        return at + self.window.total_seconds()

    def next_try(self, at: float, failures: int, now: float, chance: float) -> float:
        """When to try an event of the time `at` again: never later than its deadline, where the last try is."""
        return min(now + self.gap_s(failures, chance), max(self.deadline(at), now))
