"""How far a shard of the log is settled: delivered, dropped by rule, or covered by the record of a parked lane.

Lanes finish in any order, so a single position would repeat what is settled beyond it. The checkpoint is therefore the
`floor`, at and below which everything is settled, and the few settled sequences above it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Progress:
    """The bookkeeping of one owner of a shard. Sequences are those of the stream, ascending as they are read."""

    def __init__(self, floor: int = 0, ahead: Iterable[int] = ()) -> None:
        self.floor = floor
        self.reading = floor  # the last sequence that was read
        self._earlier = set(ahead)  # settled by the owner before us, and not read yet
        self._window: deque[tuple[int, str]] = deque()  # sequence and account token of all read above the floor
        self._settled: set[int] = set()  # those of the window that are settled

    def __len__(self) -> int:
        """How many sequences above the floor were read."""
        return len(self._window)

    @property
    def ahead(self) -> list[int]:
        """What is settled above the floor, ascending."""
        return sorted(self._settled | self._earlier)

    @property
    def oldest(self) -> tuple[int, str] | None:
        """The first sequence that is not settled, and its account; None when all that was read is."""
        return self._window[0] if self._window else None

    def read(self, seq: int, token: str) -> bool:
        """Note that this one was read; False when it is settled already."""
        self.reading = seq
        self._window.append((seq, token))
        if seq not in self._earlier:
            return True
        self._earlier.discard(seq)
        self.settle(seq)
        return False

    def settle(self, seq: int) -> None:
        """Note that this one is settled; again is fine."""
        if seq <= self.floor:
            return
        self._settled.add(seq)
        while self._window and self._window[0][0] in self._settled:
            self.floor, _ = self._window.popleft()
            self._settled.discard(self.floor)
