"""COMPRESS=DEFLATE with a real server (RFC 4978): what it saves, and that everything arrives whole."""

import base64
import os
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from postbus.common.accounts import TlsOptions
from postbus.common.credentials import Credentials
from postbus.imap_sync.connection import Endpoint, open_connection
from postbus.imap_sync.protocol.values import UidRange
from postbus.imap_sync.wire import receiving, wire
from tests.mailserver import MailServer

pytestmark = pytest.mark.anyio

PLUGINS = "protocol imap {\n  mail_plugins = listescape zlib imap_zlib\n}"
ATTACHMENT = b"Subject: large\r\n\r\n" + base64.encodebytes(os.urandom(3_000_000)).replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def packing_mail() -> Iterator[MailServer]:
    with MailServer(mta="none", add_caps=["COMPRESS=DEFLATE"], dovecot_set=[PLUGINS]) as server:
        yield server


async def test_a_download_is_a_quarter_smaller_and_rows_are_a_tenth(
    packing_mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = f"packed-{uuid4().hex[:8]}@example.test"
    received = 0
    data_received = receiving.Receiver.data_received

    def count(receiver: receiving.Receiver, d: bytes) -> None:
        nonlocal received
        received += len(d)
        data_received(receiver, d)

    monkeypatch.setattr(receiving.Receiver, "data_received", count)
    monkeypatch.setattr(wire.Wire, "is_near", False)
    endpoint = Endpoint(
        "127.0.0.1", packing_mail.info["imap_direct"], secure=False, tls=TlsOptions(reject_unauthorized=False)
    )
    sizes: dict[bool, tuple[int, int]] = {}
    for packed in (False, True):
        connection = await open_connection(endpoint, Credentials(user, packing_mail.password))
        if packed:
            assert await connection.compress()
        else:
            for _ in range(200):
                await connection.append("INBOX", b"Subject: small\r\nFrom: a@x.test\r\n\r\nhello\r\n")
            appended = await connection.append("INBOX", ATTACHMENT)
        await connection.select("INBOX")
        received, started = 0, time.process_time()
        rows = [row async for row in connection.fetch([UidRange(1, 200)], ("UID", "ENVELOPE", "BODYSTRUCTURE"))]
        assert len(rows) == 200
        for_rows, received = received, 0
        pieces = [piece async for piece in connection.stream_section(appended.uid or 0, "")]
        assert b"".join(pieces) == ATTACHMENT
        print("packed" if packed else "plain", for_rows, received, time.process_time() - started)
        sizes[packed] = (for_rows, received)
        await connection.logout()
    assert sizes[True][0] < sizes[False][0] / 5
    assert sizes[True][1] < sizes[False][1] * 0.8
