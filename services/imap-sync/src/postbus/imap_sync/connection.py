"""One connection to an IMAP server, as typed commands (RFC 9051, RFC 3501 and the extensions named below)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from postbus.common.accounts import TlsOptions
from postbus.common.credentials import Credentials
from postbus.imap_sync.protocol.values import (
    Appended,
    Fetched,
    KnownState,
    ListedMailbox,
    MailboxStatus,
    Selected,
    UidRange,
    Vanished,
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how to connect. `secure` is TLS from the first byte; otherwise STARTTLS is used when offered."""

    host: str
    port: int
    secure: bool
    tls: TlsOptions = field(default_factory=TlsOptions)
    ignore_cert_errors: bool = False
    local_address: str | None = None


async def open_connection(
    endpoint: Endpoint,
    credentials: Credentials | None,
    *,
    on_event: Callable[[str], None] | None = None,
    deadline_s: float = 30.0,
) -> ImapConnection:
    """Connect, secure, log in and enable what the sync needs."""
    raise NotImplementedError


class ImapConnection:
    """Typed commands; one in flight, callers queue."""

    capabilities: frozenset[str]
    enabled: frozenset[str]
    selected: Selected | None
    exists: int
    closed: bool

    def has(self, capability: str) -> bool:
        """Whether the server offers it; upper case."""
        raise NotImplementedError

    async def list_mailboxes(self, *, with_status: bool) -> list[ListedMailbox]:
        """All mailboxes; attribute `\\subscribed` on those that are."""
        raise NotImplementedError

    async def status(self, path: str) -> MailboxStatus:
        """STATUS; CommandRefused when there is no such mailbox."""
        raise NotImplementedError

    async def statuses(self, paths: Sequence[str]) -> dict[str, MailboxStatus]:
        """STATUS of several; those that the server refuses are absent."""
        raise NotImplementedError

    async def select(self, path: str, *, known: KnownState | None = None, read_only: bool = False) -> Selected:
        """SELECT or EXAMINE; with QRESYNC enabled, `known` brings what vanished and changed since."""
        raise NotImplementedError

    async def unselect(self) -> None:
        """Leave the mailbox without expunging."""
        raise NotImplementedError

    def fetch(
        self,
        ranges: Sequence[UidRange] | None,
        items: Sequence[str],
        *,
        by_seq: str | None = None,
        changed_since: int | None = None,
        vanished: bool = False,
    ) -> AsyncIterator[Fetched | Vanished]:
        """Rows as they arrive."""
        raise NotImplementedError

    async def fetch_flags_compact(
        self, ranges: Sequence[UidRange], *, changed_since: int | None = None
    ) -> list[tuple[int, tuple[str, ...]]]:
        """Uids and flags; the tuples of flags are shared."""
        raise NotImplementedError

    async def search(self, criteria: Sequence[str | bytes]) -> list[UidRange]:
        """UID SEARCH; sorted, merged ranges."""
        raise NotImplementedError

    async def store_flags(
        self, ranges: Sequence[UidRange], *, add: Sequence[str] = (), remove: Sequence[str] = (), silent: bool = True
    ) -> None:
        """UID STORE +FLAGS and -FLAGS."""
        raise NotImplementedError

    async def append(
        self, path: str, message: bytes, *, flags: Sequence[str] = (), internal_date: datetime | None = None
    ) -> Appended:
        """APPEND one message."""
        raise NotImplementedError

    def stream_section(self, uid: int, section: str, *, chunk_size: int = 512 * 1024) -> AsyncIterator[bytes]:
        """A section in pieces; NotFound when the message is gone."""
        raise NotImplementedError

    async def idle(self, *, max_s: float) -> None:
        """Return when the server pushed something, or after `max_s`."""
        raise NotImplementedError

    async def noop(self) -> None:
        """NOOP: hear what is new in the selected mailbox."""
        raise NotImplementedError

    async def logout(self) -> None:
        """LOGOUT and close; never raises for a server that is gone."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close at once."""
        raise NotImplementedError
