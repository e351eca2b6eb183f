"""What the server tells without being asked: the size of the selected mailbox, and that something is new in it.

Sequence numbers and sizes only mean something in the order of arrival, so this is updated where responses arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from postbus.common.errors import CommandRefused
from postbus.imap_sync.profiles import GENERIC, Profile
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.ranges import count
from postbus.imap_sync.protocol.responses import (
    Untagged,
    parse_capabilities,
    parse_status,
    parse_untagged,
    parse_vanished,
    refusal,
)
from postbus.imap_sync.protocol.values import Selected

MAX_ALERT_CHARS = 1024

_NOTHING_SAID: Final[Mapping[str, str]] = MappingProxyType({})


class MailboxState:
    """The selected mailbox as of now. `news` is set by every push that matters, until somebody takes it."""

    def __init__(self, on_event: Callable[[str], None] | None = None) -> None:
        self.selected: Selected | None = None
        self.exists = 0
        self.news = False
        self.capabilities: frozenset[str] = frozenset()
        self.enabled: frozenset[str] = frozenset()
        self.server_id = _NOTHING_SAID
        self.profile: Profile = GENERIC
        self.refused: set[str] = set()  # what the server does not understand, though it offers it
        self.logged_in = False
        self.alert = ""  # the last thing that the server wanted people to read (RFC 9051, 7.1)
        self.on_push: Callable[[], None] = _nobody
        self._on_event = on_event

    def enter(self, selected: Selected | None) -> None:
        """Another mailbox, or none, is selected now."""
        self.selected = selected
        self.exists = selected.exists if selected else 0
        self.news = False

    def note_refusal(self, what: str, error: CommandRefused) -> None:
        """The server refused something that it offers. NO, or a server that is busy, is no proof of anything."""
        if error.status == "BAD" and not refusal(error).busy:
            self.refused.add(what)

    def take_news(self) -> bool:
        """Whether there was a push since the last time."""
        news, self.news = self.news, False
        return news

    def on_untagged(self, pieces: Response) -> None:
        """Take a response that no command was waiting for."""
        untagged = parse_untagged(pieces[0])
        if untagged is not None and self._matters(untagged, pieces):
            self.note(untagged.label)
        elif untagged is not None and untagged.label in ("OK", "NO") and (status := parse_status(pieces[0][2:])):
            self.alert = status.text[:MAX_ALERT_CHARS] if status.code == "ALERT" else self.alert

    def note(self, label: str) -> None:
        """Something is new in the selected mailbox."""
        self.news = True
        self.on_push()
        if self._on_event is not None:
            self._on_event(label)

    def _matters(self, untagged: Untagged, pieces: Response) -> bool:
        match untagged.label:
            case "EXISTS":
                return self._resize(untagged.number or 0)
            case "EXPUNGE":
                return self._resize(self.exists - 1)
            case "VANISHED":
                vanished = parse_vanished(pieces[0][untagged.start :])
                return not vanished.earlier and self._resize(self.exists - count(vanished.ranges))
            case "FETCH":
                return True
            case "CAPABILITY":
                self.capabilities = parse_capabilities(pieces[0][untagged.start :].decode("ascii", "replace"))
            case "ENABLED":
                self.enabled |= frozenset(pieces[0][untagged.start :].decode("ascii", "replace").upper().split())
        return False

    def _resize(self, exists: int) -> bool:
        """Whether the size changed: some servers repeat EXISTS at every NOOP."""
        changed = exists != self.exists
        self.exists = max(exists, 0)
        return changed


@lru_cache(maxsize=1024)
def refusals_of(host: str, port: int, capabilities: frozenset[str]) -> set[str]:
    """What connections to this server were refused so far, shared by all of them: a new version offers other things."""
    return set()


def _nobody() -> None:
    """Before there is a connection nobody waits."""
