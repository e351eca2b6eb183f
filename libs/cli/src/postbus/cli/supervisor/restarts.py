"""When a process that died is started again, and when it is given up."""

from __future__ import annotations

from collections import deque

MAX_DEATHS = 5  # within WINDOW_S: one more is the end
WINDOW_S = 60.0
FIRST_DELAY_S = 0.1
LAST_DELAY_S = 5.0


class Restarts:
    """The deaths of one process, of the last minute."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque()

    def delay_after_death(self, now: float) -> float | None:
        """Seconds until the next start: 0.1, 0.2, 0.4 ...; None when it died too often to try again."""
        while self._deaths and now - self._deaths[0] > WINDOW_S:
            self._deaths.popleft()
        self._deaths.append(now)
        if len(self._deaths) > MAX_DEATHS:
            return None
        return min(FIRST_DELAY_S * float(2 ** (len(self._deaths) - 1)), LAST_DELAY_S)
