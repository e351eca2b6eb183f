"""An account of the test mail server as operations see it: real connections, mailboxes as the server lists them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from postbus.common.accounts import Account, AccountRecord, ImapSettings, MailboxRecord, TlsOptions
from postbus.common.bus.connection import Bus
from postbus.common.credentials import Credentials
from postbus.common.ids import account_token
from postbus.imap_sync.connection import Endpoint, ImapConnection, open_connection
from postbus.imap_sync.operations import Session
from postbus.imap_sync.sanitiser import Limits, Sanitiser
from tests.mailserver import MailServer

USES = {"\\sent": "\\Sent", "\\drafts": "\\Drafts", "\\junk": "\\Junk", "\\trash": "\\Trash", "\\archive": "\\Archive"}


@dataclass
class ReadingSession(Session):
    """Two connections, as long as the test runs: one for commands, one for downloads."""

    record: AccountRecord
    endpoint: Endpoint
    credentials: Credentials
    connection: ImapConnection
    downloads: ImapConnection
    nats: Bus
    boxes: dict[str, MailboxRecord]
    gmail: bool = False
    poked: list[str] = field(default_factory=list)
    in_use: int = 0
    generation: UUID = field(default_factory=uuid4)
    html: Sanitiser = field(default_factory=lambda: Sanitiser(Limits(job_s=60.0)))

    @property
    def account(self) -> Account:
        return Account(account_token(self.record.account), self.record, self.generation, 1)

    @property
    def bus(self) -> Bus:
        return self.nats

    @property
    def sanitiser(self) -> Sanitiser:
        return self.html

    @property
    def is_gmail(self) -> bool:
        return self.gmail

    def mailbox(self, path: str) -> MailboxRecord | None:
        return self.boxes.get(path)

    def mailbox_by_number(self, number: int) -> MailboxRecord | None:
        return next((box for box in self.boxes.values() if box.number == number), None)

    def special(self, use: str) -> MailboxRecord | None:
        return next((box for box in self.boxes.values() if box.special_use == use), None)

    @asynccontextmanager
    async def command(
        self, path: str | None = None, *, read_only: bool = True, deadline_s: float
    ) -> AsyncIterator[ImapConnection]:
        if self.connection.closed:
            self.connection = await open_connection(self.endpoint, self.credentials)
        if path is not None:
            await self.connection.select(path, read_only=read_only)
        yield self.connection

    @asynccontextmanager
    async def transfer(self, path: str, *, deadline_s: float) -> AsyncIterator[ImapConnection]:
        await self.downloads.select(path, read_only=True)
        self.in_use += 1
        try:
            yield self.downloads
        finally:
            self.in_use -= 1

    def poke(self, path: str) -> None:
        self.poked.append(path)

    def resync(self) -> None:
        """Nobody syncs here."""

    async def relist(self) -> None:
        self.boxes = await list_records(self.connection)


@asynccontextmanager
async def open_session(mail: MailServer, user: str, bus: Bus) -> AsyncIterator[ReadingSession]:
    """Log in as a user, list the mailboxes and number them."""
    tls = TlsOptions(reject_unauthorized=False)
    endpoint = Endpoint("127.0.0.1", mail.info["imap"], secure=False, tls=tls)
    credentials = Credentials(user, password=mail.info["password"])
    record = AccountRecord(account=user, imap=ImapSettings(host="127.0.0.1", port=endpoint.port, user=user, tls=tls))
    connection = await open_connection(endpoint, credentials)
    downloads = await open_connection(endpoint, credentials)
    try:
        session = ReadingSession(
            record, endpoint, credentials, connection, downloads, bus, await list_records(connection)
        )
        yield session
        connection = session.connection
        await session.html.close()
    finally:
        await connection.logout()
        await downloads.logout()


async def list_records(connection: ImapConnection) -> dict[str, MailboxRecord]:
    """The mailboxes as the sync would know them."""
    records = {}
    for number, row in enumerate(await connection.list_mailboxes(with_status=True), start=1):
        use = next((USES[attribute] for attribute in row.attributes if attribute in USES), None)
        use = "\\Inbox" if row.path == "INBOX" else use
        validity = row.status.uid_validity if row.status else None
        records[row.path] = MailboxRecord(number=number, path=row.path, special_use=use, uid_validity=validity)
    return records
