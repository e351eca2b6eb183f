"""Mail that was made to break readers: a worker announces it once, shows it, and goes on (traps 45, 48, 49).

What of it can never be read is left out or cut, at once and for good: nothing is tried again and nobody else waits.
"""

import base64
from typing import Any

import pytest

from postbus.common.commands import GetMessage, GetText, ListMessages
from postbus.common.events import MAX_EVENT_BYTES
from postbus.imap_sync.operations import Session
from tests.integration.imap_sync.syncing import System, until_true
from tests.integration.imap_sync.test_reading_corpora import ask, download
from tests.unit.imap_sync.html.test_html_safety import assert_safe

pytestmark = pytest.mark.anyio

HEAD = b"From: a@example.test\r\nTo: b@example.test\r\nSubject: %s\r\nDate: Wed, 25 Nov 2026 06:08:00 +0100\r\n"
HTML = HEAD + b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"


def nested_multiparts(depth: int) -> bytes:
    opened = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth))
    closed = b"".join(b"--b%d--\r\n" % n for n in reversed(range(depth)))
    return HEAD % b"deep" + b"MIME-Version: 1.0\r\n" + opened + b"Content-Type: text/plain\r\n\r\ntext\r\n" + closed


def nested_messages(depth: int) -> bytes:
    inner = HEAD % b"inner" + b"\r\ntext\r\n"
    return (
        HEAD % b"matryoshka"
        + b"Content-Type: message/rfc822\r\n\r\n" * 1
        + ((HEAD % b"level" + b"Content-Type: message/rfc822\r\n\r\n") * depth + inner)
    )


def long_lines(subject: bytes, header: bytes) -> bytes:
    return HEAD % subject + header + b"\r\n\r\ntext\r\n"


MAIL = {
    "a megabyte of one header": long_lines(b"long", b"X-Long: " + b"word " * 200_000),
    "a hundred thousand headers": long_lines(b"many", b"\r\n".join(b"X-%d: x" % n for n in range(100_000))),
    "nine thousand recipients": long_lines(
        b"all", b"Cc: " + b",\r\n ".join(b"a%d@example.test" % n for n in range(9_000))
    ),
    "a header without end": b"Subject: no body follows\r\nX: " + b"x" * 300_000,
    "nothing": b"",
    "no header": b"\r\n\r\njust text\r\n",
    "multiparts without end": nested_multiparts(1000),
    "messages in messages": nested_messages(200),
    "an image of megabytes (trap 49)": HTML % b"image" + b'<img src="data:image/png;base64,' + b"A" * 3_000_000 + b'">',
    "links without end (trap 48)": HTML % b"links" + b'<img src="cid:a@b">' * 10_000,
    "tags without end": HTML % b"tags" + b"<div><b>" * 50_000,
    "references without end": HTML % b"references" + b"&amp;" * 100_000,
    "comments without end": HTML % b"comments" + b"<!--" * 100_000,
    "a boundary that never comes": HEAD % b"x" + b"Content-Type: multipart/mixed; boundary=never\r\n\r\ntext" * 1000,
    "base64 that is none": HEAD % b"x" + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=?!" * 100_000,
    "a charset that is none": HEAD % b"x" + b"Content-Type: text/html; charset=../../x\r\n\r\n\xff\xfe<p>x",
    "html that is base64": HEAD % b"x"
    + b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(b"<script>alert(1)</script><p onclick=x>fine</p>" * 5_000),
}


async def test_every_one_is_announced_once_and_can_be_read(system: System) -> None:
    """(trap 45)"""
    await system.parts.settings_store.write({"notifyWebSafeHtml": True, "notifyHeaders": ["*"]})
    await system.parts.settings.load()
    running = await system.start()
    account = await system.connected()
    user = f"{account.record.account}@example.test"
    system.mail.seed(user, len(MAIL), make=lambda number: list(MAIL.values())[number].replace(b"\r\n", b"\n"))
    session = running.worker.runners[account.token].session
    session.poke("INBOX")
    await until_true(lambda: len(system.of(account, "messageNew")) >= len(MAIL), "all are announced")
    assert sorted(event.data.uid for event in system.of(account, "messageNew")) == list(range(1, len(MAIL) + 1))
    assert system.of(account, "messageMissing") == [] and not system.repeated()
    assert all(len(event.model_dump_json()) < 2 * MAX_EVENT_BYTES for event in system.of(account, "messageNew"))
    page = await ask(session, "messages", ListMessages(account="a", path="INBOX", page_size=100))
    assert page["total"] == len(page["messages"]) == len(MAIL)
    for entry in page["messages"]:
        await read(session, entry, list(MAIL)[entry["uid"] - 1])
    assert running.worker.runners[account.token].session is session, "the account was never started again"
    await system.deliver(account, n=1)
    assert (await system.event(account, "messageNew", len(MAIL) + 1)).data.uid == len(MAIL) + 1


async def read(session: Session, entry: Any, what: str) -> None:
    shown = await ask(session, "message", GetMessage(account="a", message=entry["id"], web_safe_html=True))
    text = await ask(session, "text", GetText(account="a", text=entry["text"]["id"], web_safe_html=True))
    assert shown["uid"] == entry["uid"], what
    if "html" in text:
        assert_safe(text["html"])
    for attachment in shown["attachments"][:3]:
        await download(session, attachment["id"])
