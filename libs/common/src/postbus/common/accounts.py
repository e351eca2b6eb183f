"""Accounts as the services know them: servers, options and state; never a secret in the clear.

The record is what a person configured. Its secrets are kept beside it, sealed, one by one, under the names of
`SECRET_FIELDS`; what the connection reports (state, last error) lives beside it too, so that both sides write apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from postbus.common.times import Instant

SECRET_FIELDS = ("imap.pass", "imap.accessToken", "smtp.pass", "smtp.accessToken", "proxy")

Protocol = Literal["imap", "smtp"]
Indexer = Literal["full", "fast"]  # fast: only new mail is told, and nothing is kept but where it begins


class AccountState(StrEnum):
    """What an account can do right now (contract, section 5)."""

    INIT = "init"
    UNSET = "unset"
    CONNECTING = "connecting"
    SYNCING = "syncing"
    CONNECTED = "connected"
    AUTHENTICATION_ERROR = "authenticationError"
    CONNECT_ERROR = "connectError"
    DISCONNECTED = "disconnected"
    PAUSED = "paused"


class Stored(BaseModel):
    """Base of what is kept in the store: frozen, camelCase, tolerant of fields a newer version wrote."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class TlsOptions(Stored):
    """How far a server's certificate and protocol version are trusted."""

    reject_unauthorized: bool = True
    min_version: str | None = None


class ServerSettings(Stored):
    """Where a server is and who logs in. Without `user` and `use_auth_server` nobody logs in."""

    host: str
    port: int
    secure: bool = False
    user: str | None = None
    use_auth_server: bool = False
    tls: TlsOptions = TlsOptions()


class ImapSettings(ServerSettings):
    """The IMAP side of an account."""

    resync_delay: int = 900
    disabled: bool = False
    disable_imap4rev2: bool = Field(False, alias="disableIMAP4rev2")  # as it is for all: it is never enabled
    sent_mail_path: str | None = None
    drafts_mail_path: str | None = None
    junk_mail_path: str | None = None
    trash_mail_path: str | None = None
    archive_mail_path: str | None = None

    @property
    def special_use_hints(self) -> dict[str, str]:
        """Special use → path, as a person decided it."""
        hints = {
            "\\Sent": self.sent_mail_path,
            "\\Drafts": self.drafts_mail_path,
            "\\Junk": self.junk_mail_path,
            "\\Trash": self.trash_mail_path,
            "\\Archive": self.archive_mail_path,
        }
        return {use: path for use, path in hints.items() if path}


class SmtpSettings(ServerSettings):
    """The SMTP side of an account."""


class CustomHeader(Stored):
    """One header that is added to webhooks."""

    key: str
    value: str = ""


class AccountRecord(Stored):
    """What a person configured. `path` holds the mailboxes to sync since `path_since`; `*` or nothing means all.

    `subconnections` are those that are watched by a connection of their own. Both name them by path or special use.
    """

    account: str
    name: str = ""
    email: str | None = None
    copy_sent: bool | None = None
    notify_from: Instant | None = None
    path: tuple[str, ...] = ("*",)
    path_since: Instant | None = None
    subconnections: tuple[str, ...] = ()
    imap_indexer: Indexer = "full"
    logs: bool = False
    imap: ImapSettings | None = None
    smtp: SmtpSettings | None = None
    smtp_ehlo_name: str | None = None
    proxy: str | None = None  # a URL; with a login in it this one is masked, and the whole is among the secrets
    webhooks: str | None = None
    webhooks_custom_headers: tuple[CustomHeader, ...] = ()

    @property
    def syncs(self) -> bool:
        """Whether there is an IMAP side to keep connected."""
        return self.imap is not None and not self.imap.disabled

    def server(self, proto: Protocol) -> ServerSettings | None:
        """The settings of one side."""
        return self.imap if proto == "imap" else self.smtp

    def watches(self, path: str, special_use: str | None) -> bool:
        """Whether this mailbox is synced, or only listed."""
        return not self.path or "*" in self.path or any(names(name, path, special_use) for name in self.path)


def names(name: str, path: str, special_use: str | None) -> bool:
    """Whether a name that a person wrote means this mailbox: by its path, as `inbox`, or by its use, in any case."""
    if name == path or (path == "INBOX" and name.upper() == "INBOX"):
        return True
    return special_use is not None and name.lower() == special_use.lower()


class LastError(Stored):
    """Why the account is not connected."""

    response: str
    server_response_code: str
    description: str | None = None


class SyncError(Stored):
    """The mailbox that could not be synced, and why."""

    path: str
    time: Instant
    error: str


class SmtpStatus(Stored):
    """How the last delivery through the account's SMTP server ended."""

    created: Instant
    status: Literal["ok", "error"]
    response: str | None = None
    description: str | None = None
    response_code: int | None = None
    code: str | None = None
    command: str | None = None
    network_routing: dict[str, str] | None = None  # as in events


class DisabledSubconnection(Stored):
    """A mailbox that was to have a connection of its own and has none, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Account:
    """All that is stored about an account. `revision` counts writes of the record; `generation` names this life.

    `born_as` is the generation at registration, which nothing changes: mail that an earlier account of the same id
    has left in the queue is told by it.
    """

    token: str
    record: AccountRecord
    generation: UUID
    revision: int
    state: AccountState = AccountState.INIT
    last_error: LastError | None = None
    sync_time: str | None = None
    smtp_status: SmtpStatus | None = None
    sync_error: SyncError | None = None
    sealed: dict[str, str] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    connected_before: bool = False
    born_as: str | None = None
    disabled_subconnections: tuple[DisabledSubconnection, ...] = ()

    @property
    def birth(self) -> UUID:
        """The generation at registration: what was submitted belongs to that life, whatever is flushed meanwhile."""
        return UUID(self.born_as) if self.born_as else self.generation


class MailboxRecord(Stored):
    """A mailbox as of the last sync: what it is and the state of the server that our index reflects."""

    number: int
    path: str
    delimiter: str | None = None
    special_use: str | None = None
    special_use_source: Literal["user", "extension", "name"] | None = None
    flags: tuple[str, ...] = ()
    listed: bool = True
    subscribed: bool = True
    synced: bool = False
    watched: bool = True  # or only listed, because the account's `path` leaves it out
    indexed: bool = True  # or, with the fast indexer, nothing is known but where new mail begins
    uid_validity: int | None = None
    uid_next: int | None = None
    highest_modseq: int | None = None
    messages: int = 0
    unseen: int | None = None
    version: int = 0
    mailbox_id: str | None = None
    late: str = ""  # uids that are there and still to be announced, as a sequence-set (RFC 9051)
    dealt_with: int = 0  # of a mailbox that was flushed: uids below it are not announced when it is indexed again

    @property
    def name(self) -> str:
        """The last segment of the path."""
        return self.path.rsplit(self.delimiter, 1)[-1] if self.delimiter else self.path

    @property
    def parent_path(self) -> str:
        """All but the last segment of the path; empty at the top."""
        return self.path.rsplit(self.delimiter, 1)[0] if self.delimiter and self.delimiter in self.path else ""
