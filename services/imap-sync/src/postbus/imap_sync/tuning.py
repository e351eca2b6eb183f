"""What nobody configures; the defaults are what the product runs with."""

from __future__ import annotations

from dataclasses import dataclass, field

from postbus.imap_sync.backoff import Backoff


@dataclass(frozen=True, slots=True)
class Tuning:
    """Seconds, where nothing else is said."""

    poll_s: float = 60.0  # between looks at the mailboxes nobody pushes news of; twice as long after each quiet one
    longest_poll_s: float = 300.0
    idle_s: float = 240.0  # providers and NAT drop an IDLE that is longer (Yahoo: 3 to 5 minutes)
    linger_s: float = 0.3  # between finding something and asking whether there is more
    audit_s: float = 86_400.0  # between full compares of a mailbox
    parked_s: float = 6 * 3600.0  # at most, for a mailbox that can't be selected
    connect_s: float = 30.0
    rescan_s: float = 30.0  # between looks at which accounts there are
    first_backoff_s: float = 2.0
    longest_backoff_s: float = 600.0
    logins_per_host: int = 8  # at the same time, of one worker
    starts_per_s: float = 200.0  # accounts, when a worker takes over many at once
    commands: int = 3  # connections of one account for commands
    transfers: int = 2  # connections of one account for downloads
    warm_s: float = 20.0  # an unused one of them is kept so long
    release_s: float = 5.0  # to hand an account over in good order

    def backoff(self) -> Backoff:
        """Delays of one account."""
        return Backoff(first_s=self.first_backoff_s, longest_s=self.longest_backoff_s)


@dataclass(slots=True)
class Clocks:
    """When things of one connection are due: seconds of the event loop."""

    poll_at: float = 0.0
    list_at: float = 0.0
    compared_at: dict[str, float] = field(default_factory=dict)
    audit_at: dict[str, float] = field(default_factory=dict)
    parked_until: dict[str, float] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)  # of mailboxes that could not be selected, in a row

    def park(self, path: str, now: float, longest_s: float) -> None:
        """Leave a mailbox alone, longer each time, and list again: most often it has just been renamed or removed."""
        self.refusals[path] = self.refusals.get(path, 0) + 1
        self.parked_until[path] = now + min(10.0 ** min(self.refusals[path] - 1, 9), longest_s)
        self.list_at = 0.0

    def forget(self, path: str) -> None:
        """The mailbox is gone; another one of this name has nothing to do with it."""
        for times in (self.compared_at, self.audit_at, self.parked_until, self.refusals):
            times.pop(path, None)
