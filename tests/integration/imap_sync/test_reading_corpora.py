"""Real and broken mail of many programs, read through a real IMAP server: nothing fails, and parts come out decoded.

The corpora are not part of the project. Where they lie is `../shared/corpora`, or what `POSTBUS_CORPORA` names.
"""

import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from postbus.common.bus.connection import BusAddress, connect_bus
from postbus.common.commands import DownloadHead, GetAttachment, GetMessage, GetText, ListMessages
from postbus.common.ids import AttachmentId, MessageId
from postbus.imap_sync.operations import OPERATIONS, STREAMS, Session
from tests.integration.imap_sync.reading_session import ReadingSession, open_session
from tests.integration.imap_sync.syncing import System, until_true
from tests.mailserver import MailServer
from tests.servers import NatsServer
from tests.unit.imap_sync.html.test_html_safety import assert_safe

ROOT = Path(__file__).parents[3]
CORPORA = Path(os.environ.get("POSTBUS_CORPORA", ROOT.parent / "shared" / "corpora"))
OTHERWISE = {  # parts that the other parser sees in another way than IMAP, or decodes no further
    "multi-frag_decoded_1_3_2.bin": "base64 goes on with junk, as the last boundary is broken",
    "multi-2gifs-base64_decoded_1_1_2.bin": "of a message inside that is base64: a leaf for IMAP (RFC 2046, 5.2.1)",
    "multi-2gifs-base64_decoded_1_1_3.bin": "the same",
    "frag_decoded_1_2_1_2_1_2_1_2.bin": "of messages in messages: they count as a level more there",
}
SUFFIXES = (".eml", ".msg", ".txt")
FOLDERS = ("mikel-mail", "nodemailer-mailparser", "talon", "flufl-bounce", "james-mime4j")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not CORPORA.is_dir(), reason=f"the mail corpora are not at {CORPORA}"),
]


def messages() -> list[Path]:
    """Files that are messages: they begin with a header."""
    files = [file for folder in FOLDERS for file in sorted((CORPORA / folder).rglob("*")) if file.suffix in SUFFIXES]
    return [file for file in files if "_decoded" not in file.name and re.match(rb"[!-9;-~]{1,60}: ?\S", head(file))]


def head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(200)


def on_wire(raw: bytes) -> bytes:
    """As a Maildir has it: LF at the end of lines."""
    return raw.replace(b"\r\n", b"\n")


@pytest.fixture
async def session(mail: MailServer, nats_server: NatsServer) -> AsyncIterator[ReadingSession]:
    bus = await connect_bus(BusAddress(nats_server.url), service="imap-sync")
    try:
        async with open_session(mail, f"corpora-{uuid4().hex[:10]}@example.test", bus) as opened:
            yield opened
    finally:
        await bus.close()


async def ask(session: Session, operation: str, command: Any) -> Any:
    return json.loads(await OPERATIONS[operation](session, command.model_dump_json(by_alias=True).encode(), 30.0))


async def download(session: Session, wanted: str) -> bytes:
    pieces: list[bytes] = []

    async def reply(_: DownloadHead, body: AsyncIterator[bytes]) -> None:
        pieces.extend([piece async for piece in body])

    payload = GetAttachment(account="a", attachment=wanted).model_dump_json().encode()
    await STREAMS["attachment"](session, payload, 10.0, reply)
    return b"".join(pieces)


async def test_every_message_of_the_corpora_can_be_listed_and_read(session: ReadingSession, mail: MailServer) -> None:
    files = messages()
    assert len(files) > 250
    mail.seed(session.record.account, len(files), make=lambda number: on_wire(files[number].read_bytes()))
    page = await ask(session, "messages", ListMessages(account="a", path="INBOX", page_size=1000))
    assert page["total"] == len(files) == len(page["messages"])
    assert [entry for entry in page["messages"] if "error" in entry] == []
    for entry in page["messages"][::3]:
        shown = await ask(session, "message", GetMessage(account="a", message=entry["id"], text_type="*"))
        text = await ask(session, "text", GetText(account="a", text=entry["text"]["id"]))
        assert {**shown["text"], **text} == shown["text"], files[entry["uid"] - 1]
        assert shown["attachments"] == entry["attachments"] and shown["headers"]
        for attachment in shown["attachments"][:2]:
            await download(session, attachment["id"])


async def test_attachments_come_out_as_another_parser_decodes_them(session: ReadingSession, mail: MailServer) -> None:
    files = [file for file in messages() if file.suffix == ".msg"]
    mail.seed(session.record.account, len(files), make=lambda number: on_wire(files[number].read_bytes()))
    page = await ask(session, "messages", ListMessages(account="a", path="INBOX", page_size=1000))
    same: list[str] = []
    other: list[str] = []
    for entry in page["messages"]:
        file = files[entry["uid"] - 1]
        numbers = {attachment["id"] for attachment in entry["attachments"]}
        for expected in sorted(file.parent.glob(f"{file.stem}_decoded_*.bin")):
            part = ".".join(expected.stem.rsplit("_decoded_", 1)[1].split("_")[1:]) or "1"
            wanted = str(AttachmentId(MessageId(session.boxes["INBOX"].number, entry["uid"]), part))
            content = await download(session, wanted) if wanted in numbers else b""
            (same if content.split() == expected.read_bytes().split() else other).append(expected.name)
    assert len(same) >= 28
    assert set(other) == set(OTHERWISE)


@pytest.mark.parametrize("share", [5, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
async def test_every_message_is_announced_once_and_readable_with_safe_html(system: System, share: int) -> None:
    """Each `share`-th of them is appended to a mailbox that a real worker watches."""
    files = messages()[::share]
    await system.parts.settings_store.write({"notifyWebSafeHtml": True})
    await system.parts.settings.load()
    running = await system.start()
    account = await system.connected()

    def append(client: Any) -> None:
        for file in files:
            status, answer = client.append("INBOX", None, None, file.read_bytes().replace(b"\0", b" "))
            assert status == "OK", (file, answer)

    await system.imap(account, append)
    await until_true(lambda: len(system.of(account, "messageNew")) >= len(files), "all are announced")
    announced = Counter(event.data.uid for event in system.of(account, "messageNew"))
    assert announced == Counter(range(1, len(files) + 1))
    assert system.of(account, "messageMissing") == [] and not system.repeated()

    session = running.worker.runners[account.token].session
    page = await ask(session, "messages", ListMessages(account="a", path="INBOX", page_size=1000))
    assert page["total"] == len(files) == len(page["messages"])
    for entry in page["messages"]:
        await read_whole(session, entry, files[entry["uid"] - 1])
    assert running.worker.runners[account.token].session is session, "the account was never started again"


async def read_whole(session: Session, entry: Any, file: Path) -> None:
    """A message, its text, and all of its attachments."""
    shown = await ask(session, "message", GetMessage(account="a", message=entry["id"], web_safe_html=True))
    text = await ask(session, "text", GetText(account="a", text=entry["text"]["id"], web_safe_html=True))
    assert shown["attachments"] == entry["attachments"] and shown["headers"], file
    assert text.get("plain") == shown["text"].get("plain"), file
    if "html" in text:
        assert text["webSafe"], file
        assert_safe(text["html"])
    for attachment in shown["attachments"]:
        await download(session, attachment["id"])
