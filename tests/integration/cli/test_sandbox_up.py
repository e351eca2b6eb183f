"""`postbus up --sandbox`: somebody without a mailbox to spare sees everything work, also after a restart."""

import re
import smtplib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.cli.instance import Instance, eventually

POSTBUS = [str(Path(sys.executable).with_name("postbus")), "up"]
ALICE, BOB = "sandbox-alice", "sandbox-bob"
SECRET = "of the submission server"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Instance]:
    with Instance("--sandbox", "--smtp.secret", SECRET, "--smtp.port", "0", program=POSTBUS) as instance:
        eventually(lambda: "Sandbox: a mail server" in instance.said(), "the sandbox's accounts")
        yield instance


def ask(instance: Instance, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    answer = httpx.request(method, f"http://127.0.0.1:{instance.port}{path}", json=body, timeout=15)
    assert answer.status_code == 200, answer.text
    return answer.json()


def subjects(instance: Instance, account: str, mailbox: str) -> list[str]:
    listing = ask(instance, "GET", f"/v1/account/{account}/messages?path={mailbox}")
    return [message["subject"] for message in listing["messages"]]


def listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def wait_connected(instance: Instance) -> None:
    for account in (ALICE, BOB):
        eventually(
            lambda account=account: ask(instance, "GET", f"/v1/account/{account}")["state"] == "connected",  # type: ignore[misc]
            f"{account} connected",
        )


def test_mail_that_one_sends_reaches_the_other_and_its_copy_is_in_sent(sandbox: Instance) -> None:
    wait_connected(sandbox)
    assert "Welcome to the sandbox" in subjects(sandbox, ALICE, "INBOX")
    letter = {"to": [{"address": "alice@sandbox.test"}], "subject": "From Bob", "text": "How are you?"}
    ask(sandbox, "POST", f"/v1/account/{BOB}/submit", letter)
    eventually(lambda: "From Bob" in subjects(sandbox, ALICE, "INBOX"), "the letter in Alice's INBOX")
    eventually(lambda: subjects(sandbox, BOB, "Sent") == ["From Bob"], "the copy in Bob's Sent")


def test_a_mail_client_submits_where_the_start_said(sandbox: Instance) -> None:
    """Under the permissions that the sender has on the bus, also with a message too large for its job."""
    wait_connected(sandbox)
    said = re.search(r"^  SMTP  (127\.0\.0\.1):([0-9]+)$", sandbox.said(), re.MULTILINE)
    assert said is not None
    eventually(lambda: listens(said[1], int(said[2])), "a listener")
    with smtplib.SMTP(said[1], int(said[2]), timeout=15) as client:
        client.login(BOB, SECRET)
        letter = (
            "From: Bob <bob@sandbox.test>\r\nTo: alice@sandbox.test\r\nSubject: By SMTP\r\n\r\n" + "x" * 70 + "\r\n"
        )
        client.sendmail("bob@sandbox.test", "alice@sandbox.test", letter + "y\r\n" * 50_000)
    eventually(lambda: "By SMTP" in subjects(sandbox, ALICE, "INBOX"), "the letter in Alice's INBOX")
    eventually(lambda: "By SMTP" in subjects(sandbox, BOB, "Sent"), "the copy in Bob's Sent")


def test_an_attachment_is_listed_and_fetched(sandbox: Instance) -> None:
    wait_connected(sandbox)
    listing = ask(sandbox, "GET", f"/v1/account/{BOB}/messages?path=INBOX")
    letter = next(message for message in listing["messages"] if message["attachments"])
    assert letter["subject"] == "A letter with an attachment ✉"
    (attachment,) = letter["attachments"]
    assert attachment["filename"] == "note.txt"
    url = f"http://127.0.0.1:{sandbox.port}/v1/account/{BOB}/attachment/{attachment['id']}"
    assert httpx.get(url, timeout=15).text.startswith("Attachments are fetched by their id.")


def test_accounts_stay_usable_after_a_restart(sandbox: Instance) -> None:
    assert sandbox.terminate() == 0
    sandbox.start()
    eventually(lambda: sandbox.said().count("Sandbox: a mail server") == 2, "the sandbox's accounts")
    wait_connected(sandbox)
    eventually(lambda: "Welcome to the sandbox" in subjects(sandbox, ALICE, "INBOX"), "a new welcome")
