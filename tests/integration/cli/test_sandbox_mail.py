"""The sandbox's mail server, as mail clients see it: what SMTP takes arrives by IMAP, at once."""

import email
import imaplib
import smtplib
import sys
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.servers.ports import HOST, free_ports
from tests.servers.process import ServerProcess, greeting

ALICE, BOB = "alice@sandbox.test", "bob@sandbox.test"


class SandboxMail(ServerProcess):
    name = "sandbox-mail"

    def __init__(self) -> None:
        imap, self.smtp_port = free_ports(2)
        super().__init__(imap)

    def command(self) -> Sequence[str | Path]:
        run = "from postbus.cli.sandbox.server import run; import sys; "
        return [
            sys.executable,
            "-c",
            f"{run}run(None, imap_port=int(sys.argv[1]), smtp_port=int(sys.argv[2]))",
            str(self.port),
            str(self.smtp_port),
        ]

    def ready(self) -> bool:
        return b"Postbus sandbox" in greeting(self.port)


@pytest.fixture(scope="module")
def mail_server() -> Iterator[SandboxMail]:
    with SandboxMail() as server:
        yield server


def log_in(server: SandboxMail, address: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4(HOST, server.port, timeout=10)
    client.login(address, "sandbox")
    return client


def send(server: SandboxMail, sender: str, recipient: str, message: bytes) -> None:
    with smtplib.SMTP(HOST, server.smtp_port, timeout=10) as client:
        client.login(sender, "sandbox")
        client.sendmail(sender, [recipient], message)


def fetch(client: imaplib.IMAP4, what: str) -> bytes:
    """The answer about the newest message of the selected mailbox, literals put where they belong."""
    newest = client.uid("SEARCH", "ALL")[1][0].split()[-1].decode()
    _, data = client.uid("FETCH", newest, what)
    return b"".join(b"\r\n".join(part) if isinstance(part, tuple) else part for part in data)


def test_idle_tells_of_a_message_that_smtp_delivered(mail_server: SandboxMail) -> None:
    client = log_in(mail_server, ALICE)
    count = int(client.select("INBOX")[1][0] or 0)
    client.send(b"A1 IDLE\r\n")
    assert client.readline().startswith(b"+")
    send(mail_server, BOB, ALICE, b"Subject: Hello\r\nMessage-ID: <1@sandbox.test>\r\n\r\nHow are you?\r\n")
    assert client.readline() == b"* %d EXISTS\r\n" % (count + 1)
    client.send(b"DONE\r\n")
    while not client.readline().startswith(b"A1 OK"):
        pass
    message = email.message_from_bytes(fetch(client, "(BODY.PEEK[])").partition(b"\r\n")[2])
    assert message["Subject"] == "Hello"
    assert message["Return-Path"] == f"<{BOB}>"
    client.logout()


def test_mailboxes_say_what_they_are_for(mail_server: SandboxMail) -> None:
    client = log_in(mail_server, ALICE)
    listed = b"\n".join(line for line in client.list()[1] if isinstance(line, bytes))
    for use in (b"Drafts", b"Sent", b"Trash", b"Junk", b"Archive"):
        assert rb"\%s" % use in listed
    client.logout()


def test_a_copy_that_is_appended_to_sent_has_a_uid(mail_server: SandboxMail) -> None:
    client = log_in(mail_server, BOB)
    _, answer = client.append("Sent", r"\Seen", "", b"Subject: copy\r\n\r\nbody\r\n")
    assert b"APPENDUID" in answer[0]
    client.select("Sent")
    assert rb"\Seen" in fetch(client, "(FLAGS)")
    client.logout()


def test_structure_and_envelope_are_as_the_standard_says(mail_server: SandboxMail) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"Bob <{BOB}>", ALICE, "Grüße"
    message["Date"] = "Wed, 25 Nov 2026 08:00:00 +0100"
    message.set_content("text")
    message.add_attachment(b"\x00\x01", maintype="application", subtype="pdf", filename="Grüße (1).pdf")
    send(mail_server, BOB, ALICE, message.as_bytes())
    client = log_in(mail_server, ALICE)
    client.select("INBOX")
    envelope = fetch(client, "(ENVELOPE)")
    assert b'ENVELOPE ("Wed, 25 Nov 2026 08:00:00 +0100" "=?utf-8?q?Gr=C3=BC=C3=9Fe?="' in envelope
    structure = fetch(client, "(BODYSTRUCTURE)")
    assert b'"application" "pdf"' in structure
    assert '("attachment" ("filename" {15}\r\nGrüße (1).pdf'.encode() in structure
    size = int(structure.partition(b'"base64" ')[2].split()[0])
    assert len(fetch(client, "(BODY.PEEK[2])").partition(b"\r\n")[2].rpartition(b" UID ")[0]) == size
    client.logout()


@pytest.mark.parametrize("recipient", ["stranger@example.com", "nobody@sandbox.test"])
def test_mail_to_who_has_no_mailbox_here_is_refused(mail_server: SandboxMail, recipient: str) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(mail_server, BOB, recipient, b"Subject: x\r\n\r\n")
    assert refused.value.recipients[recipient][0] == 550


def test_a_wrong_password_gets_in_nowhere(mail_server: SandboxMail) -> None:
    with smtplib.SMTP(HOST, mail_server.smtp_port, timeout=10) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(BOB, "wrong")
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail(BOB, [ALICE], b"Subject: x\r\n\r\n")
    imap = imaplib.IMAP4(HOST, mail_server.port, timeout=10)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        imap.login(BOB, "wrong")
    imap.shutdown()


@pytest.mark.parametrize(
    "criteria",
    [
        ("FROM", '"carol@"'),
        ("SUBJECT", '"needle"'),
        ("SENTSINCE", "1-Nov-2026", "SENTBEFORE", "1-Dec-2026", "TO", '"alice"'),
        ("HEADER", "X-Odd", '""'),
    ],
)
def test_messages_are_found_by_their_headers(mail_server: SandboxMail, criteria: Sequence[str]) -> None:
    raw = (
        b"From: Carol <carol@sandbox.test>\r\nTo: alice@sandbox.test\r\nDate: Wed, 25 Nov 2026 06:08:00 +0100\r\n"
        b"Subject: =?utf-8?q?a_needle?=\r\nX-Odd: 1\r\n\r\nHay\r\n"
    )
    send(mail_server, BOB, ALICE, raw)
    client = log_in(mail_server, ALICE)
    client.select("INBOX")
    newest = client.uid("SEARCH", "ALL")[1][0].split()[-1]
    assert newest in client.uid("SEARCH", *criteria)[1][0].split()
    assert client.uid("SEARCH", "SUBJECT", '"no such"')[1][0] == b""
