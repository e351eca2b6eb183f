"""How long to wait before the next attempt to connect (full jitter; only survival resets it)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

SURVIVAL_S = 300.0  # a session that lived so long was a good one


@dataclass(slots=True)
class Backoff:
    """Delays of one account, in seconds: each up to twice the one before, from `first_s` to `longest_s`.

    A refused login waits `login_factor` times as long: servers lock out who keeps trying.
    """

    first_s: float = 2.0
    longest_s: float = 600.0
    login_factor: float = 8.0
    draw: Callable[[float, float], float] = field(default=random.uniform)
    _failures: int = 0

    def next_s(self, *, lived_s: float, login_refused: bool = False) -> float:
        """The delay after an attempt whose session lived this long (0 where there was none)."""
        if lived_s >= SURVIVAL_S:
            self._failures = 0
        ceiling = self.first_s * 2.0 ** min(self._failures, 30) * (self.login_factor if login_refused else 1.0)
        self._failures += 1
        ceiling = min(ceiling, self.longest_s)
        return self.draw(ceiling / 2 if login_refused else 0.0, ceiling)

    def reset(self) -> None:
        """Start anew: somebody changed the account."""
        self._failures = 0
