"""Who may connect, and how fast passwords may be tried.

A right password is never delayed. A wrong one costs its sender time, and how many may try at once is limited, so that
guessing is hopeless and nobody is locked out.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from postbus.sender.submission.limits import SubmissionLimits

REMEMBERED: Final = 10_000  # addresses with failures
FORGIVEN_AFTER_S: Final = 600.0


@dataclass(slots=True)
class Guard:
    """Counts connections and failed logins by address. `clock` is monotonic, in seconds."""

    limits: SubmissionLimits
    clock: Callable[[], float] = time.monotonic
    connections: int = 0
    _strangers: Counter[str] = field(default_factory=Counter)
    _failures: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)

    def admit(self, address: str) -> bool:
        """Whether one more connection may come from there: it is a stranger until `know` or `leave`."""
        if self.connections >= self.limits.connections or self._strangers[address] >= self.limits.strangers:
            return False
        self.connections += 1
        self._strangers[address] += 1
        return True

    def know(self, address: str) -> None:
        """A stranger has logged in."""
        self._strangers[address] -= 1
        if self._strangers[address] <= 0:
            del self._strangers[address]

    def leave(self, address: str, *, stranger: bool) -> None:
        """A connection has ended."""
        self.connections -= 1
        if stranger:
            self.know(address)

    def fail(self, address: str) -> float:
        """A login failed: how many seconds its answer has to wait."""
        count, since = self._failures.pop(address, (0, 0.0))
        count = count + 1 if self.clock() - since < FORGIVEN_AFTER_S else 1
        self._failures[address] = (count, self.clock())
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)
        return float(min(self.limits.login_delay_s * 2 ** min(count - 1, 20), self.limits.longest_delay_s))
