"""Submissions through real Postfix: delivered once, refused, deferred, in parts, large, by every way of logging in."""

import asyncio
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from postbus.common import ids
from postbus.common.bus.streams import DLQ, RAW
from postbus.common.config_values import LocalAddress
from postbus.common.credentials import Credentials, seal_fetched
from postbus.common.errors import AuthenticationFailed
from postbus.common.jobs import ReferenceTask, Submission, pack_job, unpack_submission
from postbus.common.store import keys
from tests.integration.sender.conftest import Bench, message, until
from tests.mailserver import MailServer

pytestmark = pytest.mark.anyio


async def test_a_message_is_delivered_once_told_and_filed(bench: Bench) -> None:
    anna = await bench.account("anna-once")
    await bench.start()
    task = ReferenceTask(message="AAAAAQAAAAE", action="reply")
    sent = await bench.submit(anna, "bob-once@example.test", bcc="hidden@example.test", reference=task)
    event = await bench.event(sent, "messageSent")
    assert event.data.response.startswith("250 ")
    assert event.data.envelope.to == ["bob-once@example.test"]
    await bench.idle()
    (raw,) = await bench.received("bob-once@example.test", sent)
    assert b"\nBcc:" not in raw
    assert [f.filing.queue_id for f in bench.filings] == [sent.queue_id]
    assert bench.filings[0].raw == message(sent.message_id)
    assert (bench.filings[0].filing.bcc, bench.filings[0].filing.reference) == ("hidden@example.test", task)
    account = await bench.parts.accounts.get("anna-once")
    status = account.smtp_status
    assert account.counters == {"messageSent": 1}
    assert status is not None and status.status == "ok"
    assert [event.event for event in bench.events_of(sent)] == ["messageSent"]


async def test_a_job_that_comes_again_after_the_end_is_finished_and_not_sent_again(bench: Bench) -> None:
    anna = await bench.account("anna-again")
    await bench.start()
    sent = await bench.submit(anna, "bob-again@example.test")
    await bench.event(sent, "messageSent")
    await bench.idle()
    await bench.parts.bus.publish(f"ee.job.send.{anna.token}.{sent.queue_id}", _job(sent))
    await bench.idle()
    assert len(await bench.received("bob-again@example.test", sent)) == 1
    assert len(bench.events_of(sent)) <= 2  # the log itself keeps one: the ids are equal
    info = await bench.parts.bus.js.stream_info("EVENTS", subjects_filter=f"ee.events.{anna.token}.messageSent.*")
    assert sum((info.state.subjects or {}).values()) == 1


async def test_a_refused_recipient_fails_at_once_and_is_kept_as_a_dead_letter(bench: Bench) -> None:
    anna = await bench.account("anna-refused")
    await bench.start()
    refused = await bench.submit(anna, "reject-550@example.test")
    failed = await bench.event(refused, "messageFailed")
    assert failed.data.outcome == "failed" and failed.data.error.startswith("Error: Recipient refused: 550 5.7.1")
    error = await bench.event(refused, "messageDeliveryError")
    assert (error.data.error_code, error.data.smtp_response_code, error.data.smtp_command) == (
        "EENVELOPE",
        550,
        "RCPT TO",
    )
    assert error.data.job.next_attempt is False and error.data.job.attempts_made == 1
    await bench.idle()
    letter = await bench.parts.bus.js.get_last_msg(DLQ, f"ee.dlq.send.{refused.queue_id}")
    assert unpack_submission(letter.data or b"") == (refused, message(refused.message_id))
    assert bench.filings == []
    account = await bench.parts.accounts.get("anna-refused")
    status = account.smtp_status
    assert account.counters == {"messageDeliveryError": 1, "messageFailed": 1}
    assert status is not None and (status.status, status.response_code) == ("error", 550)


@pytest.mark.parametrize(("to", "code"), [("defer-451", 451), ("deferdata-452", 452), ("reject-503", 503)])
async def test_what_may_work_later_is_tried_again_until_the_attempts_are_used_up(
    bench: Bench, to: str, code: int
) -> None:
    anna = await bench.account(f"anna-{to}")
    await bench.start()
    deferred = await bench.submit(anna, f"{to}@example.test", attempts_limit=2)
    first = await bench.event(deferred, "messageDeliveryError")
    assert first.data.smtp_response_code == code
    assert first.data.job.next_attempt and first.data.job.attempts == 2
    await bench.event(deferred, "messageFailed")
    kinds = [event.event for event in bench.events_of(deferred)]
    assert kinds == ["messageDeliveryError", "messageDeliveryError", "messageFailed"]


async def test_a_message_refused_after_its_end_fails_at_once(bench: Bench) -> None:
    anna = await bench.account("anna-data")
    await bench.start()
    failed = await bench.event(await bench.submit(anna, "rejectdata-554@example.test"), "messageFailed")
    assert failed.data.outcome == "failed" and " 554 " in failed.data.error


async def test_a_greylisted_message_arrives_by_its_scheduled_attempt(bench: Bench) -> None:
    anna = await bench.account("anna-grey")
    await bench.start()
    to = f"greylist-rcpt-{ids.new_queue_id()}@example.test"
    sent = await bench.submit(anna, to)
    await bench.event(sent, "messageSent")
    assert (await bench.event(sent, "messageDeliveryError")).data.smtp_response_code == 450
    assert len(await bench.received(to, sent)) == 1


async def test_recipients_refused_for_now_get_the_message_later_and_the_others_once(bench: Bench) -> None:
    anna = await bench.account("anna-parts")
    await bench.start()
    grey = f"greylist-rcpt-{ids.new_queue_id()}@example.test"
    sent = await bench.submit(anna, "bob-parts@example.test", "reject-550@example.test", grey)
    first = await bench.event(sent, "messageSent")
    assert first.data.envelope.to == ["bob-parts@example.test"]
    error = await bench.event(sent, "messageDeliveryError")
    assert error.data.envelope.to == ["reject-550@example.test", grey] and error.data.job.next_attempt
    await until(
        lambda: any(e.data.envelope.to == [grey] for e in bench.events_of(sent) if e.event == "messageSent"), grey
    )
    await bench.idle()
    assert len(await bench.received("bob-parts@example.test", sent)) == 1
    assert len(await bench.received(grey, sent)) == 1


async def test_a_large_message_comes_from_the_raw_stream_and_leaves_it_after_filing(bench: Bench) -> None:
    anna = await bench.account("anna-large")
    await bench.start()
    body = b"".join(b".%07d dots and lines\r\n" % n for n in range(130_000))
    raw = message(f"<{ids.new_queue_id()}@example.test>", body)
    sent = await bench.submit(
        anna, "bob-large@example.test", raw=raw, message_id=raw.split(b"Message-ID: ")[1][:32].split()[0].decode()
    )
    assert sent.raw_chunks > 5
    await bench.event(sent, "messageSent")
    (got,) = await bench.received("bob-large@example.test", sent)
    assert hashlib.sha256(got.partition(b"\r\n\r\n")[2]).digest() == hashlib.sha256(body).digest()
    await bench.idle()
    assert bench.filings[0].raw == b"" and bench.filings[0].filing.raw_chunks == sent.raw_chunks
    assert (await bench.parts.bus.js.stream_info(RAW)).state.messages == 0


async def test_a_message_over_the_servers_limit_is_not_even_begun(bench: Bench) -> None:
    anna = await bench.account("anna-size")
    await bench.start()
    failed = await bench.event(await bench.submit(anna, "bob@example.test", size=99_000_000), "messageFailed")
    assert "limit" in failed.data.error


async def test_addresses_beyond_ascii_travel_by_smtputf8(bench: Bench) -> None:
    anna = await bench.account("anna-utf8")
    await bench.start()
    sent = await bench.submit(anna, "jürgen@bücher.example")
    assert (await bench.event(sent, "messageSent")).data.envelope.to == ["jürgen@xn--bcher-kva.example"]


@pytest.mark.parametrize("secure", [True, False])
async def test_a_certificate_nobody_vouches_for_ends_the_delivery(bench: Bench, secure: bool) -> None:
    port = bench.mail.info["submissions" if secure else "submission"]
    anna = await bench.account(f"anna-cert-{secure}", secure=secure, port=port, tls={"reject_unauthorized": True})
    await bench.start()
    sent = await bench.submit(anna, "bob@example.test")
    assert (await bench.event(sent, "messageDeliveryError")).data.error_code == "ETLS"
    await bench.event(sent, "messageFailed")


async def test_the_setting_to_trust_every_certificate_is_followed(bench: Bench) -> None:
    await bench.parts.settings_store.write({"ignoreMailCertErrors": True})
    await bench.parts.settings.load()
    port = bench.mail.info["submissions"]
    anna = await bench.account("anna-trust", secure=True, port=port, tls={"reject_unauthorized": True})
    await bench.start()
    await bench.event(await bench.submit(anna, "bob@example.test"), "messageSent")


async def test_a_wrong_password_fails_at_once_and_is_tried_once(bench: Bench) -> None:
    anna = await bench.account("anna-wrong", secret={"smtp.pass": "wrong"})
    await bench.start()
    sent = await bench.submit(anna, "bob@example.test")
    await bench.event(sent, "messageFailed")
    error = await bench.event(sent, "messageDeliveryError")
    assert (error.data.error_code, error.data.smtp_response_code, error.data.smtp_command) == ("EAUTH", 535, "AUTH")


@pytest.fixture(scope="module")
def login_only() -> Iterator[MailServer]:
    with MailServer(mechanisms="login") as server:
        yield server


async def test_login_is_used_where_plain_is_not_offered(bench: Bench, login_only: MailServer) -> None:
    anna = await bench.account("anna-login", port=login_only.info["submission"])
    await bench.start()
    await bench.event(await bench.submit(anna, "bob@example.test"), "messageSent")


async def test_an_access_token_logs_in_by_xoauth2(bench: Bench) -> None:
    token = bench.mail.token("anna-token@example.test")["access_token"]
    anna = await bench.account("anna-token", secret={"smtp.accessToken": token})
    await bench.start()
    await bench.event(await bench.submit(anna, "bob@example.test"), "messageSent")


async def test_a_fetched_token_that_ended_is_fetched_once_more(bench: Bench) -> None:
    good = bench.mail.token("anna-fetched@example.test")["access_token"]
    anna = await bench.account("anna-fetched", secret={}, user=None, use_auth_server=True)
    asked: list[str] = []

    async def ensure(_: bytes) -> bytes:
        key = keys.credentials(anna.token, "smtp")
        if not await bench.parts.redis.exists(key):
            token = good if asked else "ended"
            asked.append(token)
            fetched = Credentials("anna-fetched@example.test", None, token)
            await bench.parts.redis.set(key, seal_fetched(bench.parts.secrets, "anna-fetched", "smtp", fetched), ex=60)
        return b"{}"

    bench.handlers["ensure"] = ensure
    await bench.start()
    await bench.event(await bench.submit(anna, "bob@example.test"), "messageSent")
    assert asked == ["ended", good]


async def test_a_bad_answer_of_the_authentication_server_is_no_reason_to_give_a_message_up(bench: Bench) -> None:
    anna = await bench.account("anna-asks", secret={}, user=None, use_auth_server=True)
    asked: list[bytes] = []

    async def ensure(payload: bytes) -> bytes:
        asked.append(payload)
        if len(asked) == 1:
            raise AuthenticationFailed(
                "The authentication server answered with HTTP status 502", code="HTTPRequestError"
            )
        fetched = Credentials("anna-asks@example.test", "pass")
        sealed = seal_fetched(bench.parts.secrets, "anna-asks", "smtp", fetched)
        await bench.parts.redis.set(keys.credentials("anna-asks", "smtp"), sealed, ex=60)
        return b"{}"

    bench.handlers["ensure"] = ensure
    await bench.start()
    sent = await bench.submit(anna, "bob-asks@example.test")
    error = await bench.event(sent, "messageDeliveryError")
    assert error.data.error_code == "HTTPRequestError" and error.data.job.next_attempt
    await bench.event(sent, "messageSent")


async def test_the_way_out_is_one_of_the_configured_addresses(bench: Bench) -> None:
    bench.parts.config.local_addresses[:] = [LocalAddress("127.0.0.9", "out.example.test")]
    anna = await bench.account("anna-way")
    await bench.start()
    sent = await bench.submit(anna, "bob-way@example.test")
    routing = (await bench.event(sent, "messageSent")).data.network_routing
    assert (routing.local_address, routing.name) == ("127.0.0.9", "out.example.test")
    (raw,) = await bench.received("bob-way@example.test", sent)
    assert b"out.example.test" in raw and b"[127.0.0.9]" in raw


@pytest.mark.parametrize("host", ["169.254.169.254", "::ffff:169.254.169.254"])
async def test_nothing_is_sent_to_a_metadata_address(bench: Bench, host: str) -> None:
    anna = await bench.account("anna-metadata", host=host)
    await bench.start()
    sent = await bench.submit(anna, "bob@example.test", attempts_limit=1)
    error = await bench.event(sent, "messageDeliveryError")
    assert error.data.error_code == "EACCES" and "off limits" in error.data.error


async def test_jobs_of_an_account_that_is_gone_are_dropped(bench: Bench) -> None:
    anna = await bench.account("anna-gone")
    sent = await bench.submit(anna, "bob-gone@example.test", raw=message("<gone@x>", b"x\r\n" * 50_000))
    await bench.parts.accounts.delete(anna)
    await bench.start()
    await bench.idle()
    assert bench.events_of(sent) == []
    assert (await bench.parts.bus.js.stream_info(RAW)).state.messages == 0


async def test_mail_that_a_removed_account_has_left_is_not_sent_by_a_new_one_of_the_same_id(bench: Bench) -> None:
    before = await bench.account("anna-again")
    left = await bench.submit(before, "bob-again@example.test", account_born_as=before.born_as)
    await bench.parts.accounts.delete(before)
    after = await bench.account("anna-again")
    own = await bench.submit(after, "bob-again@example.test", account_born_as=after.born_as)
    await bench.start()
    await bench.event(own, "messageSent")
    await bench.idle()
    assert bench.events_of(left) == []


async def test_an_account_without_an_smtp_server_says_so(bench: Bench) -> None:
    anna = await bench.account("anna-none")
    record = anna.record.model_copy(update={"smtp": None})
    assert await bench.parts.accounts.update(anna, record, {})
    await bench.start()
    assert (
        "no SMTP server" in (await bench.event(await bench.submit(anna, "b@example.test"), "messageFailed")).data.error
    )


async def test_unreadable_jobs_become_dead_letters(bench: Bench) -> None:
    await bench.start()
    await bench.parts.bus.publish("ee.job.send.nobody.q1", b"{nonsense")
    await bench.parts.bus.publish("ee.job.file.nobody.q2", b"")
    await bench.idle()
    assert (await bench.parts.bus.js.get_last_msg(DLQ, "ee.dlq.send.q1")).data == b"{nonsense"


async def test_many_messages_of_one_account_arrive_exactly_once(bench: Bench) -> None:
    anna = await bench.account("anna-many")
    sent = [await bench.submit(anna, "bob-many@example.test") for _ in range(120)]
    await bench.start()
    await asyncio.gather(*(bench.event(one, "messageSent") for one in sent))
    found = await asyncio.to_thread(
        bench.mail.messages, "bob-many@example.test", wait=10, count=120, match=b"Message-ID"
    )
    arrived: list[Any] = [raw.split(b"Message-ID: ")[1].split()[0].decode() for raw in found]
    assert sorted(arrived) == sorted(one.message_id for one in sent)


def _job(submission: Submission) -> bytes:
    return pack_job(submission, message(submission.message_id))
