"""Messages that were listed and could not be fetched: tried again after 1, 1.7 and 2.9 s, then told as missing."""

from __future__ import annotations

from dataclasses import dataclass, field

from postbus.imap_sync.opening import Suspects

RETRY_GAPS_S = (1.0, 1.7, 2.9)
MISSING_DELAY_MS = int(sum(RETRY_GAPS_S) * 1000)


@dataclass(slots=True)
class LateMail:
    """How often each was tried, in this life of the session, and when a mailbox is due again (seconds of the loop).

    `suspects`: mailboxes that give as much trouble.
    """

    tries: dict[tuple[int, int], int] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    suspects: Suspects = field(default_factory=Suspects)

    def missed(self, path: str, number: int, uids: list[int], now: float) -> list[int]:
        """These were not given again; returns those that had their last try."""
        given_up = []
        for uid in uids:
            tried = self.tries.get((number, uid), 0)
            if tried >= len(RETRY_GAPS_S):
                given_up.append(uid)
                self.tries.pop((number, uid), None)
                continue
            self.tries[number, uid] = tried + 1
            self.due[path] = min(self.due.get(path, float("inf")), now + RETRY_GAPS_S[tried])
        return given_up

    def came(self, number: int, uids: list[int]) -> None:
        """These were given, or vanished."""
        for uid in uids:
            self.tries.pop((number, uid), None)

    def take_due(self, now: float) -> list[str]:
        """Mailboxes whose time has come."""
        paths = [path for path, at in self.due.items() if at <= now]
        for path in paths:
            del self.due[path]
        return paths

    def next_at(self) -> float:
        """When the next one is due."""
        return min(self.due.values(), default=float("inf"))
