"""What the requests of one process may hold at once, so that no number of clients exhausts its memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from postbus.common.config import Config
from postbus.common.errors import Unavailable

MIN_BODY_BYTES = 128 * 1024**2
MAX_DOWNLOADS = 100  # each holds up to 4 MiB on its way


@dataclass(slots=True)
class Budget:
    """A number that is shared: who would exceed it is refused, not kept waiting."""

    limit: int
    used: int = 0

    def take(self, amount: int) -> None:
        """Take from it; Unavailable when there is not enough left."""
        if self.used + amount > self.limit:
            raise Unavailable("Too much is under way at once, try again", code="Overloaded")
        self.used += amount

    def give(self, amount: int) -> None:
        """Give back what was taken."""
        self.used -= amount

    @contextmanager
    def held(self, amount: int) -> Iterator[None]:
        """Take for the time of a block."""
        self.take(amount)
        try:
            yield
        finally:
            self.give(amount)


@dataclass(slots=True)
class Limits:
    """The budgets of a process: bytes of request bodies, and downloads."""

    bodies: Budget
    downloads: Budget = field(default_factory=lambda: Budget(MAX_DOWNLOADS))


def limits_of(config: Config) -> Limits:
    """The budgets with this configuration: two of the largest bodies always have room."""
    return Limits(Budget(max(MIN_BODY_BYTES, 2 * config.max_body_size)))
