"""Contract, sections 11 to 13: what a submission becomes, and that nothing is kept of one that is refused."""

import asyncio
import base64
import email
import email.policy
import json
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any

import httpx
import pytest

from postbus.common import ids
from postbus.common.bus.queue import fetch_raw, put_raw
from postbus.common.bus.room import QueueRoom
from postbus.common.bus.streams import JOBS
from postbus.common.commands import ReferenceAddress, ReferenceInfo
from postbus.common.config import Config
from postbus.common.errors import NotFound
from postbus.common.jobs import Submission, send_subject, unpack_submission
from postbus.common.service import Parts
from postbus.common.store import keys
from postbus.common.times import now
from tests.integration.api.conftest import ScriptedOwner

pytestmark = pytest.mark.anyio

URL = "/v1/account/example/submit"
MESSAGE = str(ids.MessageId(1, 481))
ORIGINAL = ReferenceInfo(
    message_id="<orig@example.com>",
    in_reply_to="<before@example.com>",
    references="<first@example.com> <before@example.com>",
    subject="Monthly report",
    from_=[ReferenceAddress(name="Andris", address="andris@example.com")],
    reply_to=[],
    to=[ReferenceAddress(address="kaarel@example.com")],
    cc=[],
)


async def the_job(parts: Parts, queue_id: str) -> tuple[Submission, EmailMessage]:
    """The submission that lies in JOBS, and its message."""
    stored = await parts.bus.js.get_last_msg("JOBS", send_subject("example", queue_id))
    submission, raw = unpack_submission(stored.data or b"")
    if submission.raw_chunks:
        raw = await fetch_raw(parts.bus, submission.raw_name, submission.raw_chunks)
    assert len(raw) == submission.size
    return submission, email.message_from_bytes(raw, policy=email.policy.default)


async def jobs(parts: Parts) -> int:
    info = await parts.bus.js.stream_info("JOBS")
    return info.state.messages


async def submitted(
    parts: Parts, client: httpx.AsyncClient, **body: Any
) -> tuple[dict[str, Any], Submission, EmailMessage]:
    answer = await client.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json(), *await the_job(parts, answer.json()["queueId"])


async def test_a_message_is_kept_before_the_answer(parts: Parts, client: httpx.AsyncClient, account: str) -> None:
    answer, job, message = await submitted(
        parts,
        client,
        to=[{"name": "Andris", "address": "andris@example.com"}],
        cc={"address": "cc@example.com"},
        bcc=[{"address": "hidden@example.com"}, {"address": "cc@example.com"}],
        subject="Hello",
        text="Hello äöü",
        headers={"X-Campaign": ["spring", 7]},
    )
    assert answer["response"] == "Queued for delivery"
    assert answer["messageId"] == job.message_id == message["Message-ID"]
    assert answer["sendAt"].endswith("Z") and len(answer["queueId"]) == 19
    assert job.account_born_as == (await parts.accounts.get("example")).born_as
    assert job.envelope.sender == "kaarel@example.com"
    assert job.envelope.recipients == ("andris@example.com", "cc@example.com", "hidden@example.com")
    assert message["Bcc"] is None and "hidden@example.com" in (job.bcc or "")
    assert message["From"] == "Kaarel Karu <kaarel@example.com>"
    assert message.get_all("X-Campaign") == ["spring", "7"]
    assert message.get_content().strip() == "Hello äöü"
    assert job.deadline - job.send_at == timedelta(days=3)


async def test_a_large_attachment_goes_through_raw(parts: Parts, client: httpx.AsyncClient, account: str) -> None:
    content = bytes(range(256)) * 4096
    attachment = {"filename": "b.bin", "content": base64.b64encode(content).decode()}
    _, job, message = await submitted(parts, client, to={"address": "a@b.example"}, attachments=[attachment])
    assert job.raw_chunks > 1
    (part,) = message.iter_attachments()
    assert part.get_content() == content and part.get_filename() == "b.bin"


async def test_a_reply_threads_and_goes_to_the_sender(
    parts: Parts, client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    owner.answers["reference"] = ORIGINAL.model_dump_json().encode()
    answer, job, message = await submitted(parts, client, reference={"message": MESSAGE}, text="Thanks")
    assert answer["reference"] == {"message": MESSAGE, "success": True}
    assert message["In-Reply-To"] == "<orig@example.com>"
    assert message["References"] == "<first@example.com> <before@example.com> <orig@example.com>"
    assert message["Subject"] == "Re: Monthly report"
    assert message["To"] == "Andris <andris@example.com>"
    assert job.reference is not None and job.reference.action == "reply"
    assert owner.asked == [("reference", {"account": "example", "message": MESSAGE})]


async def test_a_forward_keeps_the_thread_and_needs_a_recipient(
    parts: Parts, client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    owner.answers["reference"] = ORIGINAL.model_dump_json().encode()
    reference = {"message": MESSAGE, "action": "forward"}
    _, _, message = await submitted(parts, client, reference=reference, to={"address": "x@y.example"}, text="See")
    assert message["In-Reply-To"] is None and message["Subject"] == "Fwd: Monthly report"
    assert message["References"].endswith("<orig@example.com>")
    answer = await client.post(URL, json={"reference": reference, "text": "x"})
    assert (answer.status_code, answer.json()["fields"][0]["key"]) == (400, "to")


@pytest.mark.parametrize("message", [MESSAGE, "nonsense!"])
async def test_a_missing_reference_is_404_and_nothing_is_sent(
    parts: Parts, client: httpx.AsyncClient, owner: ScriptedOwner, account: str, message: str
) -> None:
    owner.answers["reference"] = NotFound("Message not found", code="MessageNotFound")
    body = {"reference": {"message": message}, "to": {"address": "a@b.example"}, "text": "x"}
    answer = await client.post(URL, json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "ReferenceNotFound")
    assert await jobs(parts) == 0


async def test_a_message_for_later_waits_for_its_time(parts: Parts, client: httpx.AsyncClient, account: str) -> None:
    send_at = now() + timedelta(days=1)
    body = {"to": {"address": "a@b.example"}, "text": "x", "sendAt": send_at.isoformat()}
    answer = (await client.post(URL, json=body)).json()
    assert datetime.fromisoformat(answer["sendAt"]) == send_at
    stored = await parts.bus.js.get_last_msg("JOBS", f"ee.sch.{answer['queueId']}")
    submission, _ = unpack_submission(stored.data or b"")
    assert submission.send_at == send_at
    past = (await client.post(URL, json={**body, "sendAt": "2020-01-01T00:00:00Z"})).json()
    assert datetime.fromisoformat(past["sendAt"]) > now() - timedelta(minutes=1)


async def test_an_envelope_and_the_options_of_delivery_are_taken_as_given(
    parts: Parts, client: httpx.AsyncClient, account: str
) -> None:
    await client.post("/v1/settings", json={"deliveryAttempts": 4})
    _, first, _ = await submitted(
        parts, client, to={"address": "a@b.example"}, envelope={"from": "", "to": "x@y.example"}, copy=False
    )
    assert (first.envelope.sender, first.envelope.recipients) == ("", ("x@y.example",))
    assert (first.copy_sent, first.attempts_limit) == (False, 4)
    options = {"deliveryAttempts": 2, "sentMailPath": "Sent/2026", "messageId": "own@example.com"}
    _, second, message = await submitted(parts, client, to={"address": "a@b.example"}, **options)
    assert (second.attempts_limit, second.sent_mail_path) == (2, "Sent/2026")
    assert message["Message-ID"] == "<own@example.com>"


@pytest.mark.parametrize(
    ("body", "keys_of_failures"),
    [
        ({}, {"to"}),
        ({"to": [{"address": "a@b.example"}, {"address": "no"}], "foo": 1}, {"to.1.address", "foo"}),
        ({"to": {"address": "a@b.example", "name": "a\r\nBcc: x"}}, {"to.0.name"}),
        ({"to": {"address": "a@b.example\r\nx"}}, {"to.0.address"}),
        ({"to": {"address": "a@b.example"}, "subject": "a\nb"}, {"subject"}),
        ({"to": {"address": "a@b.example"}, "headers": {"Bcc": "x@y.example"}}, {"headers.Bcc"}),
        ({"to": {"address": "a@b.example"}, "headers": {"X-A": "a\r\nb"}}, {"headers.X-A.0"}),
        ({"to": {"address": "a@b.example"}, "headers": {"X-EE-Account": "x"}}, {"headers.X-EE-Account"}),
        ({"to": {"address": "a@b.example"}, "attachments": [{"content": "?"}]}, {"attachments.0.content"}),
        ({"to": {"address": "a@b.example"}, "attachments": [{"filename": "x"}]}, {"attachments.0.content"}),
        ({"to": {"address": "a@b.example"}, "raw": "x"}, {"raw"}),
        ({"to": {"address": "a@b.example"}, "sendAt": "2999-01-01T00:00:00Z"}, {"sendAt"}),
        ({"to": {"address": "a@b.example"}, "messageId": "<a b>"}, {"messageId"}),
        ({"to": {"address": "a@b.example"}, "envelope": {"from": "x", "to": []}}, {"envelope.from", "envelope.to"}),
    ],
)
async def test_what_can_not_be_sent_is_refused(
    parts: Parts, client: httpx.AsyncClient, account: str, body: dict[str, Any], keys_of_failures: set[str]
) -> None:
    answer = await client.post(URL, json=body)
    assert answer.status_code == 400
    assert {one["key"] for one in answer.json()["fields"]} == keys_of_failures
    assert await jobs(parts) == 0


async def test_an_account_without_smtp_can_not_send(client: httpx.AsyncClient, account: str) -> None:
    await client.put("/v1/account/example", json={"smtp": False})
    answer = await client.post(URL, json={"to": {"address": "a@b.example"}})
    assert (answer.status_code, answer.json()["code"]) == (404, "SMTPUnavailable")


ONCE = {"to": {"address": "a@b.example"}, "text": "once"}
KEY = {"Idempotency-Key": " order 4711 "}


class TestIdempotencyKeys:
    async def test_the_same_request_is_answered_as_before_and_sent_once(
        self, parts: Parts, client: httpx.AsyncClient, account: str
    ) -> None:
        first = (await client.post(URL, json=ONCE, headers=KEY)).json()
        again = (await client.post(URL, json=ONCE, headers=KEY)).json()
        assert first.pop("idempotency") == {"key": "order 4711", "status": "MISS"}
        assert again.pop("idempotency") == {"key": "order 4711", "status": "HIT"}
        assert first == again
        assert await jobs(parts) == 1

    async def test_at_the_same_time_too(self, parts: Parts, client: httpx.AsyncClient, account: str) -> None:
        """The others wait for the first (trap 64)."""
        answers = await asyncio.gather(*(client.post(URL, json=ONCE, headers=KEY) for _ in range(8)))
        assert len({answer.json()["queueId"] for answer in answers}) == 1
        assert sorted(answer.json()["idempotency"]["status"] for answer in answers) == ["HIT"] * 7 + ["MISS"]
        assert await jobs(parts) == 1

    async def test_another_message_with_that_key_is_a_conflict(
        self, parts: Parts, client: httpx.AsyncClient, account: str
    ) -> None:
        await client.post(URL, json=ONCE, headers=KEY)
        other = await client.post(URL, json={**ONCE, "text": "twice"}, headers=KEY)
        assert (other.status_code, other.json()["code"]) == (409, "IdempotencyKeyReused")
        assert await jobs(parts) == 1

    async def test_a_failure_is_forgotten(self, parts: Parts, client: httpx.AsyncClient, account: str) -> None:
        bad = {**ONCE, "headers": {"X-EE-Anything": "1"}}
        assert (await client.post(URL, json=bad, headers=KEY)).status_code == 400
        good = await client.post(URL, json=ONCE, headers=KEY)
        assert (good.status_code, good.json()["idempotency"]["status"]) == (200, "MISS")

    @pytest.mark.parametrize("began", [False, True])
    async def test_who_died_after_keeping_it_is_followed_by_the_same_answer_and_no_second_job(
        self, parts: Parts, client: httpx.AsyncClient, account: str, began: bool
    ) -> None:
        first = (await client.post(URL, json=ONCE, headers=KEY)).json()
        (claim,) = [name async for name in parts.redis.scan_iter("ee:{example}:idem:*")]
        await parts.redis.hdel(claim, "answer")
        await parts.redis.hset(claim, "since", "0")
        if began:  # and its job is done with
            await parts.bus.js.purge_stream(JOBS)
            await parts.redis.hset(keys.submission("example", first["queueId"]), "phase", "ended")
        again = (await client.post(URL, json=ONCE, headers=KEY)).json()
        assert (again["queueId"], again["messageId"]) == (first["queueId"], first["messageId"])
        assert await jobs(parts) == (0 if began else 1)
        assert (await client.post(URL, json=ONCE, headers=KEY)).json()["idempotency"]["status"] == "HIT"

    async def test_who_began_it_before_leaves_nothing_in_the_message_of_the_next(
        self, parts: Parts, client: httpx.AsyncClient, account: str
    ) -> None:
        large = {**ONCE, "text": "x" * 2_000_000, "html": "<p>y</p>"}
        first = (await client.post(URL, json=large, headers=KEY)).json()
        before = await fetch_raw(parts.bus, first["queueId"], 4)
        begun = ids.new_queue_id()  # by one that has put some bytes there, and no job, and may be slow or dead
        await put_raw(parts.bus, begun, b"of another try" * 100_000)
        (claim,) = [name async for name in parts.redis.scan_iter("ee:{example}:idem:*")]
        await parts.redis.hdel(claim, "answer")
        await parts.redis.hset(claim, mapping={"since": "0", "queue": begun})
        assert (await client.post(URL, json=large, headers=KEY)).json()["queueId"] == begun
        stored = await parts.bus.js.get_last_msg("JOBS", send_subject("example", begun))
        job, _ = unpack_submission(stored.data or b"")
        after = await fetch_raw(parts.bus, job.raw_name, 4)
        assert b"of another try" not in after and len(after) == len(before)

    async def test_no_key_is_none_and_a_key_without_end_is_refused(
        self, parts: Parts, client: httpx.AsyncClient, account: str
    ) -> None:
        for _ in range(2):
            answer = await client.post(URL, json=ONCE, headers={"Idempotency-Key": ""})
            assert "idempotency" not in answer.json()
        assert await jobs(parts) == 2
        long = await client.post(URL, json=ONCE, headers={"Idempotency-Key": "k" * 1025})
        assert (long.status_code, long.json()["fields"][0]["key"]) == (400, "idempotency-key")


class TestLimits:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config.model_copy(update={"max_size": 100, "max_body_size": 2 * 1024**2})

    async def test_each_text_and_attachment_has_its_limit(self, client: httpx.AsyncClient, account: str) -> None:
        long = "a" * 101
        body = {"to": {"address": "a@b.example"}, "text": long, "html": long, "attachments": [{"content": long}]}
        answer = await client.post(URL, json=body)
        assert {one["key"] for one in answer.json()["fields"]} == {"text", "html", "attachments.0.content"}

    async def test_a_body_over_the_limit_is_413(self, client: httpx.AsyncClient, account: str) -> None:
        large = json.dumps({"text": "a" * 2 * 1024**2}).encode()
        headers = {"content-type": "application/json"}
        assert (await client.post(URL, content=large, headers=headers)).status_code == 413

        async def chunks() -> Any:
            for start in range(0, len(large), 65536):
                yield large[start : start + 65536]

        assert (await client.post(URL, content=chunks(), headers=headers)).status_code == 413
        ordinary = await client.post("/v1/settings", content=b" " * (1024**2 + 1), headers=headers)
        assert ordinary.status_code == 413


async def test_a_full_queue_is_503_and_nothing_is_kept(parts: Parts, client: httpx.AsyncClient, account: str) -> None:
    parts.bus.jobs_room = QueueRoom("JOBS", limit=0)
    answer = await client.post(URL, json={"to": {"address": "a@example.com"}, "text": "x"})
    assert (answer.status_code, answer.json()["code"]) == (503, "QueueFull")
    assert await jobs(parts) == 0
