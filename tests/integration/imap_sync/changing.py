"""What tests of changes share: a session on a server, its operations, and what a mailbox holds."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from postbus.common.bus.connection import BusAddress, connect_bus
from postbus.common.commands import Command
from postbus.common.ids import MessageId
from postbus.imap_sync.operations import OPERATIONS
from postbus.imap_sync.protocol.ranges import expand
from tests.integration.imap_sync.reading_session import ReadingSession, open_session
from tests.mailserver import MailServer
from tests.servers import NatsServer


async def opened(mail: MailServer, nats: NatsServer) -> AsyncIterator[ReadingSession]:
    """A new user of the server."""
    bus = await connect_bus(BusAddress(nats.url), service="imap-sync")
    try:
        async with open_session(mail, f"changing-{uuid4().hex[:10]}@example.test", bus) as one:
            yield one
    finally:
        await bus.close()


async def run(session: ReadingSession, operation: str, command: Command) -> Any:
    """The answer of an operation."""
    return json.loads(await OPERATIONS[operation](session, command.model_dump_json(by_alias=True).encode(), 10.0))


def name(session: ReadingSession, uid: int, path: str = "INBOX") -> str:
    """The id of a message."""
    return str(MessageId(session.boxes[path].number, uid))


async def uids(session: ReadingSession, path: str, *criteria: str) -> list[int]:
    """The uids that a search finds."""
    async with session.command(path, deadline_s=5) as connection:
        return list(expand(await connection.search(criteria or ("ALL",))))
