"""The whole way of a command: over the bus to the worker that owns the account, and its answer or stream back."""

import asyncio
import hashlib
import json
import os
from base64 import encodebytes
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from postbus.common import commands, ids
from postbus.common.accounts import AccountRecord, AccountState
from postbus.common.bus import rpc
from postbus.common.bus.download import open_download
from postbus.common.bus.streams import migrate_streams
from postbus.common.commands import (
    CountMailboxes,
    DownloadHead,
    FileMessage,
    GetAttachment,
    GetMessage,
    GetReference,
    GetSource,
    GetText,
    ListMessages,
)
from postbus.common.config import Config
from postbus.common.errors import NotFound
from postbus.common.events import AccountAdded, AccountInfo, seal_event
from postbus.common.jobs import Filing, ReferenceTask
from postbus.common.service import Parts, open_parts
from postbus.common.store.accounts import new_generation
from postbus.common.times import now
from postbus.imap_sync.service import serve
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio

KEY_RING = json.dumps({"active": "k1", "k1": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="})
PATIENCE_S = 20.0
LARGE = 3 * 1024 * 1024


@dataclass
class Owned:
    """An account that a worker owns, as other services see it."""

    parts: Parts
    account: str
    user: str

    async def ask(self, operation: str, command: BaseModel) -> Any:
        subject = commands.owner_subject(ids.account_token(self.account), operation)
        return json.loads(await rpc.call(self.parts.bus, subject, command, deadline_s=10.0))

    async def download(self, operation: str, command: BaseModel) -> tuple[DownloadHead, bytes]:
        subject = commands.owner_subject(ids.account_token(self.account), operation)
        async with open_download(self.parts.bus, subject, command, deadline_s=10.0) as download:
            head = DownloadHead.model_validate_json(download.head)
            return head, b"".join([piece async for piece in download.chunks()])


@pytest.fixture
async def owned(mail: MailServer, fresh_nats: NatsServer, redis_url: str) -> AsyncIterator[Owned]:
    config = Config(redis=redis_url, nats=fresh_nats.url, secret=KEY_RING)
    async with AsyncExitStack() as stack:
        parts = await open_parts(stack, "imap-sync", config)
        await migrate_streams(parts.bus)
        user = f"owned-{uuid4().hex[:10]}@example.test"
        await create_account(parts, user, mail)
        working = asyncio.create_task(serve(parts))
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (await parts.accounts.get(user)).state is not AccountState.CONNECTED:
                    assert not working.done(), working
                    await asyncio.sleep(0.02)
            yield Owned(parts, user, user)
        finally:
            working.cancel()
            await asyncio.wait([working])


async def create_account(parts: Parts, user: str, mail: MailServer) -> None:
    imap = {"host": "127.0.0.1", "port": mail.info["imap"], "user": user, "tls": {"reject_unauthorized": False}}
    record = AccountRecord.model_validate({"account": user, "imap": imap})
    sealed = {"imap.pass": parts.secrets.seal("pass", account=user, field="imap.pass")}
    generation = new_generation()
    added = seal_event(AccountAdded(account=user, data=AccountInfo(account=user)), generation)
    assert await parts.accounts.create(record, sealed, added, generation)


async def test_a_message_is_listed_read_and_downloaded_over_the_bus(owned: Owned, mail: MailServer) -> None:
    content = os.urandom(LARGE)
    raw = (
        b"From: Ann <ann@x.test>\r\nSubject: Photo\r\nMessage-ID: <photo@x.test>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nLook!\r\n"
        b"--b\r\nContent-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + encodebytes(content).replace(b"\n", b"\r\n")
        + b"--b--\r\n"
    )
    mail.deliver(owned.user, raw=raw)
    page = await owned.ask("messages", ListMessages(account=owned.account, path="inbox"))
    (entry,) = page["messages"]
    assert (entry["subject"], entry["from"]["name"], entry["unseen"]) == ("Photo", "Ann", True)
    shown = await owned.ask("message", GetMessage(account=owned.account, message=entry["id"], text_type="*"))
    assert shown["text"]["plain"] == "Look!"
    text = await owned.ask("text", GetText(account=owned.account, text=entry["text"]["id"]))
    assert text == {"plain": "Look!", "hasMore": False}
    wanted = entry["attachments"][0]["id"]
    head, body = await owned.download("attachment", GetAttachment(account=owned.account, attachment=wanted))
    assert head == DownloadHead(content_type="image/png", filename="a.png")
    assert hashlib.sha256(body).digest() == hashlib.sha256(content).digest()
    head, body = await owned.download("source", GetSource(account=owned.account, message=entry["id"]))
    assert head.content_type == "message/rfc822" and body.endswith(b"--b--\r\n")


async def test_readers_that_leave_do_not_use_up_the_downloads(owned: Owned, mail: MailServer) -> None:
    mail.seed(owned.user, 1, make=lambda _: b"Subject: large\r\n\r\n" + b"0123456789abcde\n" * 600_000)
    (entry,) = (await owned.ask("messages", ListMessages(account=owned.account, path="INBOX")))["messages"]
    command = GetSource(account=owned.account, message=entry["id"])
    subject = commands.owner_subject(ids.account_token(owned.account), "source")
    for _ in range(6):
        opening = open_download(owned.parts.bus, subject, command, deadline_s=10.0)
        async with opening as download, aclosing(download.chunks()) as chunks:  # type: ignore[type-var]
            assert await anext(chunks)
    assert len((await owned.download("source", command))[1]) > 9_000_000


async def test_aliases_and_unknown_mailboxes(owned: Owned) -> None:
    assert (await owned.ask("messages", ListMessages(account=owned.account, path="\\Sent")))["total"] == 0
    with pytest.raises(NotFound) as error:
        await owned.ask("messages", ListMessages(account=owned.account, path="No such"))
    assert (error.value.code, error.value.details) == ("FolderNotFound", {"path": "No such"})


async def test_a_delivered_reply_is_filed_and_its_original_flagged(owned: Owned, mail: MailServer) -> None:
    mail.deliver(owned.user)
    (entry,) = (await owned.ask("messages", ListMessages(account=owned.account, path="INBOX")))["messages"]
    reference = await owned.ask("reference", GetReference(account=owned.account, message=entry["id"]))
    assert reference["message_id"] == entry["messageId"]
    raw = b"Message-ID: <reply@x.test>\r\nSubject: Re\r\n\r\nYes\r\n"
    filing = Filing(
        queue_id="q1",
        account=owned.account,
        message_id="<reply@x.test>",
        created=now(),
        size=len(raw),
        reference=ReferenceTask(message=entry["id"], action="reply"),
    )
    for _ in range(2):
        filed = await owned.ask("file", FileMessage(account=owned.account, filing=filing, raw=raw))
        assert filed == {"path": "Sent", "skipped": None}
    (sent,) = (await owned.ask("messages", ListMessages(account=owned.account, path="Sent")))["messages"]
    assert sent["messageId"] == "<reply@x.test>" and "unseen" not in sent
    (entry,) = (await owned.ask("messages", ListMessages(account=owned.account, path="INBOX")))["messages"]
    assert entry["answered"] is True
    counters = await owned.ask("mailboxes", CountMailboxes(account=owned.account))
    assert counters["Sent"] == {"messages": 1, "unseen": 0}
