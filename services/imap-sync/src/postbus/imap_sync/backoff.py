"""How long to wait before the next attempt to connect: each kind of failure has its own row of delays.

A server that can't be reached is tried again soon, and less often the longer it is away. One that lets us in and drops
us is not logged into again and again: only a session that survives proves that it is well (contract, section 5).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

SURVIVAL_S = 300.0  # a session that lived so long was a good one
GROWTH = 1.5
LONGEST_DROPPED_S = 30.0
LOGIN_FACTOR = 8.0  # servers lock out who keeps trying a password
LOGIN_GROWTH = 2.0
MOST_COUNTED = 64  # failures; the delay does not grow any more long before


class Fault(StrEnum):
    """What went wrong."""

    AWAY = "away"  # there was no connection
    REFUSED = "refused"  # the login was refused
    DROPPED = "dropped"  # we were in, and the connection was lost
    BROKEN = "broken"  # we were in, and the server could not be worked with


@dataclass(slots=True)
class Backoff:
    """Delays of one account, in seconds, each drawn between half and the whole of what it may be.

    `first_s` is for a server that let us in; one that is away is tried again four times as soon.
    """

    first_s: float = 2.0
    longest_s: float = 600.0
    draw: Callable[[float, float], float] = field(default=random.uniform)
    _failures: dict[Fault, int] = field(default_factory=dict)

    def next_s(self, fault: Fault, *, lived_s: float = 0.0, at_least_s: float = 0.0) -> float:
        """The delay after an attempt whose session lived this long (0 where there was none).

        `at_least_s` is what the server itself asks for, as far as that is reasonable.
        """
        if lived_s >= SURVIVAL_S:
            self._failures.clear()
        failures = self._failures.get(fault, 0)
        self._failures[fault] = min(failures + 1, MOST_COUNTED)
        match fault:
            case Fault.AWAY:
                ceiling, longest = self.first_s / 4 * GROWTH**failures, self.longest_s
            case Fault.REFUSED:
                ceiling, longest = self.first_s * LOGIN_FACTOR * LOGIN_GROWTH**failures, self.longest_s
            case Fault.DROPPED:
                ceiling, longest = self.first_s * GROWTH**failures, min(LONGEST_DROPPED_S, self.longest_s)
            case Fault.BROKEN:
                ceiling, longest = self.first_s * GROWTH**failures, self.longest_s
        ceiling = min(ceiling, longest)
        return max(self.draw(ceiling / 2, ceiling), min(at_least_s, self.longest_s))

    def settled(self) -> None:
        """Everything was looked at: the server can be reached and worked with. Whether it keeps us is to be seen."""
        self._failures.pop(Fault.AWAY, None)
        self._failures.pop(Fault.REFUSED, None)

    def reset(self) -> None:
        """Start anew: somebody changed the account."""
        self._failures.clear()
