"""The main job, end to end: register a mailbox, read it, hear about new mail, answer it (contract, tier S)."""

import asyncio
import base64
import email
import email.policy
import time
from collections.abc import Sequence
from email.message import EmailMessage
from typing import Any

import pytest

from tests.contract import assert_deliveries_fit
from tests.e2e.running import RunningPostbus
from tests.mailserver import MailServer
from tests.servers import ReceivedRequest, WebhookSink

pytestmark = pytest.mark.anyio

ATTACHMENT = b"\x00\x01binary\xff" * 1000


def _question(to: str) -> bytes:
    message = EmailMessage()
    message["From"] = "Cüstomer <customer@example.test>"
    message["To"] = to
    message["Subject"] = "A questiön"
    message["Message-ID"] = "<question@example.test>"
    message["References"] = "<earlier@example.test>"
    message["Date"] = "Wed, 25 Nov 2026 10:00:00 +0100"
    message.set_content("plain question\n")
    message.add_alternative("<p>html question</p>\n", subtype="html")
    message.add_attachment(ATTACHMENT, maintype="application", subtype="octet-stream", filename="dätei.bin")
    return message.as_bytes(policy=email.policy.SMTP)


async def _next_second() -> None:
    """INTERNALDATE counts whole seconds: mail of the second an account is registered in counts as new."""
    second = int(time.time())
    while int(time.time()) == second:
        await asyncio.sleep(0.02)


async def _new_message(hooks: WebhookSink, account: str) -> dict[str, Any]:
    def there(requests: Sequence[ReceivedRequest]) -> bool:
        return any((r.json["event"], r.json["account"]) == ("messageNew", account) for r in requests)

    requests = await hooks.wait(there, timeout=20)
    return next(r.json for r in requests if (r.json["event"], r.json["account"]) == ("messageNew", account))


async def test_old_mail_is_listed_and_never_announced(
    postbus: RunningPostbus, mail: MailServer, hooks: WebhookSink
) -> None:
    mail.deliver("e2e-old@example.test", n=3)
    await _next_second()
    await asyncio.to_thread(postbus.add_account, "e2e-old", "e2e-old@example.test", mail)
    await asyncio.to_thread(postbus.wait_connected, "e2e-old")
    listing = postbus.client.get("/v1/account/e2e-old/messages", params={"path": "INBOX"}).json()
    assert (listing["total"], listing["pages"], len(listing["messages"])) == (3, 1, 3)
    mail.deliver("e2e-old@example.test", raw=_question("e2e-old@example.test"))
    new = await _new_message(hooks, "e2e-old")
    assert new["data"]["messageId"] == "<question@example.test>"
    assert [e["event"] for e in hooks.events() if e["account"] == "e2e-old"].count("messageNew") == 1


async def test_a_new_message_is_announced_fetched_answered_and_its_answer_threads(
    postbus: RunningPostbus, mail: MailServer, hooks: WebhookSink
) -> None:
    api = postbus.client
    account, path = "e2e desk/ä*ß", "/v1/account/e2e%20desk%2F%C3%A4*%C3%9F"
    address = "e2e-desk@example.test"
    await asyncio.to_thread(postbus.add_account, account, address, mail)
    await asyncio.to_thread(_wait_connected, postbus, path)
    question = _question(address)
    mail.deliver(address, raw=question)
    new = (await _new_message(hooks, account))["data"]
    assert new["subject"] == "A questiön"
    assert new["from"] == {"name": "Cüstomer", "address": "customer@example.test"}
    assert new["text"]["plain"].strip() == "plain question"

    message = api.get(f"{path}/message/{new['id']}", params={"textType": "*"}).json()
    assert message["headers"]["references"] == ["<earlier@example.test>"]
    assert message["text"]["html"].strip() == "<p>html question</p>"
    text = api.get(f"{path}/text/{message['text']['id']}", params={"textType": "plain"}).json()
    assert (text["plain"].strip(), text["hasMore"]) == ("plain question", False)
    [attachment] = message["attachments"]
    download = api.get(f"{path}/attachment/{attachment['id']}")
    assert download.content == ATTACHMENT
    assert "filename*=UTF-8''d%C3%A4tei.bin" in download.headers["content-disposition"]
    assert api.get(f"{path}/message/{new['id']}/source").content.endswith(question)

    answer = api.post(
        f"{path}/submit",
        json={
            "to": [{"name": "Customer, the", "address": "e2e-customer@example.test"}],
            "text": "the answer",
            "html": "<p>the answer</p>",
            "attachments": [{"filename": "a.txt", "content": base64.b64encode(b"attached").decode()}],
            "reference": {"message": new["id"], "action": "reply"},
        },
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["response"] == "Queued for delivery"
    await asyncio.to_thread(_assert_threaded, mail, answer.json()["messageId"])
    await asyncio.to_thread(_assert_filed, mail, address, answer.json()["messageId"])
    await hooks.wait(lambda requests: any(r.json["event"] == "messageSent" for r in requests), timeout=20)
    assert_deliveries_fit([request.delivery for request in hooks.requests if request.json["account"] == account])


async def test_a_missing_reference_is_404_and_nothing_is_sent(postbus: RunningPostbus, mail: MailServer) -> None:
    await asyncio.to_thread(postbus.add_account, "e2e-noref", "e2e-noref@example.test", mail)
    await asyncio.to_thread(postbus.wait_connected, "e2e-noref")
    body = {"to": [{"address": "e2e-nobody@example.test"}], "text": "x", "reference": {"message": "AAAAAQAAAeE"}}
    answer = postbus.client.post("/v1/account/e2e-noref/submit", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "ReferenceNotFound")
    body["reference"] = {"message": "AAAAAQAAAeE", "action": "forward"}
    assert postbus.client.post("/v1/account/e2e-noref/submit", json=body).status_code == 404
    assert mail.messages("e2e-nobody@example.test") == []


def _wait_connected(postbus: RunningPostbus, path: str) -> None:
    deadline = time.monotonic() + 20
    while postbus.client.get(path).json().get("state") != "connected":
        assert time.monotonic() < deadline, postbus.client.get(path).text
        time.sleep(0.05)


def _assert_threaded(mail: MailServer, message_id: str) -> None:
    [raw] = mail.messages("e2e-customer@example.test", wait=20, match=message_id.encode())
    reply = email.message_from_bytes(raw, policy=email.policy.default)
    assert reply["Subject"] == "Re: A questiön"
    assert reply["In-Reply-To"] == "<question@example.test>"
    assert reply["References"].split() == ["<earlier@example.test>", "<question@example.test>"]
    assert reply["To"].addresses[0].display_name == "Customer, the"
    [attached] = reply.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("a.txt", "attached")


def _assert_filed(mail: MailServer, address: str, message_id: str) -> None:
    assert len(mail.messages(address, mailbox="Sent", wait=20, match=message_id.encode())) == 1
    client = mail.imap_client(address, port=mail.info["imap_direct"])
    try:
        client.select("INBOX", readonly=True)
        deadline = time.monotonic() + 20
        while b"\\Answered" not in b"".join(filter(None, client.fetch("1", "(FLAGS)")[1])):  # type: ignore[arg-type]
            assert time.monotonic() < deadline, "the original is not \\Answered"
            time.sleep(0.05)
            client.noop()
    finally:
        client.logout()
