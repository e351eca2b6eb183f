"""Messages that mail clients hand over by SMTP: a real client, a running sender, a real MTA behind it."""

import asyncio
import base64
import shutil
import smtplib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr

from postbus.common import ids
from postbus.common.bus.queue import fetch_raw
from postbus.common.bus.streams import JOBS, RAW
from postbus.common.config_values import TlsMode
from postbus.common.jobs import Submission, unpack_submission
from postbus.common.times import now
from postbus.sender.submission.limits import SubmissionLimits
from tests.integration.sender.conftest import Bench, until, until_async
from tests.mailserver import MailServer
from tests.mailserver.certificates import make_certificates
from tests.servers.ports import free_port

pytestmark = pytest.mark.anyio

SECRET = "a secret, shared: ü"
LIMITS = SubmissionLimits(login_delay_s=0.05, drain_s=1.0)
T = TypeVar("T")


@dataclass
class Entrance:
    """The submission server of a sender that delivers, or only takes messages in."""

    bench: Bench
    port: int
    limits: SubmissionLimits = LIMITS
    config: dict[str, Any] = field(default_factory=dict)

    async def open(self) -> None:
        changes = {"smtp_secret": SecretStr(SECRET), "smtp_port": self.port, **self.config}
        self.bench.parts.config = self.bench.config.model_copy(update=changes)
        await self.bench.start(submission=self.limits)
        await until_async(self._listens, "a listener")

    async def set(self, **settings: Any) -> None:
        await self.bench.parts.settings_store.write(settings)
        await self.bench.parts.settings.load()

    async def _listens(self) -> bool:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    async def run(self, work: Callable[[smtplib.SMTP], T], user: str | None = None, secret: str = SECRET) -> T:
        """Do something as a client, logged in as `user`, in a thread."""

        def run() -> T:
            with self.client() as client:
                if user is not None:
                    login(client, user, secret)
                return work(client)

        return await asyncio.to_thread(run)

    def client(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.port, timeout=10)

    async def send(
        self, user: str, to: str | list[str], raw: bytes, sender: str = "a@example.test", **more: Any
    ) -> str:
        """Submit a message; the reply to it."""

        def work(client: smtplib.SMTP) -> str:
            client.sendmail(sender, to, raw, **more)
            return ""

        del work

        def submit(client: smtplib.SMTP) -> str:
            assert client.mail(sender, more.get("mail_options", ()))[0] == 250
            for one in [to] if isinstance(to, str) else to:
                assert client.rcpt(one)[0] == 250
            code, words = client.data(raw)
            return f"{code} {words.decode()}"

        return await self.run(submit, user)

    async def queued(self, reply: str) -> tuple[Submission, bytes]:
        """The job that an accepted message became, by its reply, and its bytes."""
        queue_id = reply.split()[6]
        found = await self.bench.parts.bus.js.get_last_msg(JOBS, f"ee.sch.{queue_id}")
        job, raw = unpack_submission(found.data or b"")
        return job, raw or await fetch_raw(self.bench.parts.bus, job.raw_name, job.raw_chunks)


@pytest.fixture
async def entrance(bench: Bench) -> AsyncIterator[Entrance]:
    yield Entrance(bench, free_port())


def login(client: smtplib.SMTP, user: str, secret: str = SECRET) -> tuple[int, bytes]:
    client.ehlo()
    code, words = client.docmd("AUTH", "PLAIN " + base64_of(f"\0{user}\0{secret}"))
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, words)
    return code, words


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def letter(body: bytes = b"Hello\r\n", *fields: bytes, message_id: str | None = None) -> bytes:
    head = b"".join(one + b"\r\n" for one in fields)
    own = f"Message-ID: {message_id}\r\n".encode() if message_id else b""
    return b"From: Anna <anna@elsewhere.test>\r\nTo: bob@example.test\r\nSubject: x\r\n" + own + head + b"\r\n" + body


LATER = b"X-EE-Send-At: 2099-01-01T00:00:00Z"
SOON = f"X-EE-Send-At: {(now() + timedelta(days=2)).isoformat()}".encode()


async def test_a_message_arrives_without_control_headers_and_bcc_and_with_the_clients_own_from(
    entrance: Entrance,
) -> None:
    """From stays (trap 59), Bcc is for the copy (trap 52), control headers stay here (trap 62)."""
    bench = entrance.bench
    anna = await bench.account("anna smtp/1")
    await entrance.open()
    message_id = f"<{ids.new_queue_id()}@elsewhere.test>"
    controls = (b"x-ee-delivery-attempts: 7", b"X-eE-Anything:\r\n folded", b"BCC: Hid <hidden-smtp@example.test>")
    raw = letter(b".leading dot\r\n..two\r\nHello\r\n", *controls, message_id=message_id)
    reply = await entrance.send("anna smtp/1", ["bob-smtp@example.test", "hidden-smtp@example.test"], raw)
    assert reply.startswith("250 Message queued for delivery as ")
    for user in ("bob-smtp@example.test", "hidden-smtp@example.test"):
        (arrived,) = await asyncio.to_thread(bench.mail.messages, user, wait=15, match=message_id.encode())
        text = arrived.decode()
        assert "From: Anna <anna@elsewhere.test>" in text
        assert "x-ee-" not in text.lower() and "\nbcc:" not in text.lower()
        assert "\n.leading dot" in text.replace("\r", "") and "\n..two" in text.replace("\r", "")
    await bench.idle()
    (filed,) = [one for one in bench.filings if one.filing.message_id == message_id]
    assert filed.filing.bcc == "Hid <hidden-smtp@example.test>" and filed.filing.account == anna.record.account


async def test_the_reply_names_queue_id_and_time_and_the_message_is_kept_by_then(entrance: Entrance) -> None:
    """A message that waits is dated when it is sent (trap 61)."""
    await entrance.bench.account("anna-later")
    await entrance.open()
    due = now() + timedelta(days=2)
    field_ = f"X-EE-SEND-AT: {int(due.timestamp() * 1000)}".encode()
    reply = await entrance.send(
        "anna-later", "bob@example.test", letter(b"x\r\n", field_, b"Date: Mon, 1 Jan 2001 00:00:00 +0000")
    )
    job, raw = await entrance.queued(reply)
    assert job.send_at == due and reply.endswith(f"({due:%Y-%m-%dT%H:%M:%S}.{due.microsecond // 1000:03d}Z)")
    assert f"Date: {due:%a, %d %b %Y %H:%M:%S} +0000\r\n".encode() in raw and b"2001" not in raw


async def test_a_large_message_is_kept_octet_by_octet(entrance: Entrance) -> None:
    await entrance.bench.account("anna-large")
    await entrance.open()
    body = b"".join(b".%d %s\r\n" % (line, b"x" * (line % 90)) for line in range(90_000))
    reply = await entrance.send("anna-large", "bob@example.test", letter(body, SOON))
    job, raw = await entrance.queued(reply)
    assert job.raw_chunks > 1 and raw.partition(b"\r\n\r\n")[2] == body


async def test_eight_bit_text_arrives(entrance: Entrance) -> None:
    await entrance.bench.account("anna-8bit")
    await entrance.open()
    message_id = f"<{ids.new_queue_id()}@elsewhere.test>"
    fields = (b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: 8bit")
    raw = letter("Grüße, 日本\r\n".encode(), *fields, message_id=message_id)
    await entrance.send("anna-8bit", "bob-8bit@example.test", raw, mail_options=["BODY=8BITMIME"])
    found = await asyncio.to_thread(
        entrance.bench.mail.messages, "bob-8bit@example.test", wait=15, match=message_id.encode()
    )
    assert len(found) == 1 and "Grüße, 日本".encode() in found[0]


async def test_addresses_beyond_ascii_travel_by_smtputf8(entrance: Entrance) -> None:
    bench = entrance.bench
    await bench.account("anna-utf8-smtp")
    await entrance.open()
    message_id = f"<{ids.new_queue_id()}@elsewhere.test>"

    def submit(client: smtplib.SMTP) -> None:
        client.command_encoding = "utf-8"
        raw = letter(b"Hi\r\n", "X-Note: größer".encode(), message_id=message_id)
        client.sendmail("änna@bücher.example", ["sink@example.test"], raw, ["SMTPUTF8", "BODY=8BITMIME"])

    await entrance.run(submit, "anna-utf8-smtp")
    await until(lambda: any(event.event == "messageSent" for event in bench.events), "messageSent")
    (sent,) = [event.data for event in bench.events if event.event == "messageSent"]
    assert (sent.message_id, sent.envelope.from_) == (message_id, "änna@xn--bcher-kva.example")


@pytest.mark.parametrize(("user", "secret"), [("anna-wrong", "wrong"), ("nobody-here", SECRET), ("", SECRET)])
async def test_a_wrong_secret_and_an_unknown_account_are_refused_alike(
    entrance: Entrance, user: str, secret: str
) -> None:
    await entrance.bench.account("anna-wrong")
    await entrance.open()

    def try_twice(client: smtplib.SMTP) -> list[tuple[int, bytes | str]]:
        refusals = []
        for _ in range(2):
            with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
                login(client, user, secret)
            refusals.append((refused.value.smtp_code, refused.value.smtp_error))
        return refusals

    assert await entrance.run(try_twice) == [(535, b"5.7.8 Authentication credentials invalid")] * 2


async def test_passwords_can_not_be_tried_for_ever(entrance: Entrance) -> None:
    await entrance.open()

    def guess(client: smtplib.SMTP) -> int:
        client.ehlo()
        for _ in range(2):
            with pytest.raises(smtplib.SMTPAuthenticationError):
                login(client, "x", "wrong")
        return client.docmd("AUTH", "PLAIN AHgAeQ==")[0]

    assert await entrance.run(guess) == 421


async def test_auth_login_works_and_an_aborted_one_gets_one_reply(entrance: Entrance) -> None:
    await entrance.bench.account("anna-login")
    await entrance.open()

    def talk(client: smtplib.SMTP) -> list[int]:
        client.ehlo()
        codes = [client.docmd("AUTH", "LOGIN")[0], client.docmd("*")[0], client.noop()[0]]
        codes.append(client.docmd("AUTH", "login " + base64_of("anna-login"))[0])
        codes.append(client.docmd(base64_of(SECRET))[0])
        return codes

    assert await entrance.run(talk) == [334, 501, 250, 334, 235]


async def test_nothing_is_taken_without_a_login(entrance: Entrance) -> None:
    await entrance.open()

    def talk(client: smtplib.SMTP) -> list[int]:
        offered = client.ehlo()[1].decode()
        assert "AUTH LOGIN PLAIN" in offered and "SIZE 26214400" in offered and "8BITMIME" in offered
        assert "SMTPUTF8" in offered and "STARTTLS" not in offered
        return [client.mail("a@example.test")[0], client.rcpt("b@example.test")[0], client.docmd("DATA")[0]]

    assert await entrance.run(talk) == [530, 530, 530]


async def test_a_message_over_the_limit_is_refused_by_its_size_or_at_its_end(entrance: Entrance) -> None:
    """The limit of a message on the wire is one of its own (trap 65)."""
    await entrance.bench.account("anna-size")
    entrance.config = {"smtp_max_message_size": 100_000}
    await entrance.open()

    def talk(client: smtplib.SMTP) -> list[int]:
        codes = [client.mail("a@example.test", ["SIZE=100001"])[0], client.mail("a@example.test")[0]]
        client.rcpt("bob@example.test")
        codes.append(client.data(letter(b"x" * 70 + b"\r\n") + b"y\r\n" * 40_000)[0])
        codes += [client.mail("a@example.test")[0], client.rcpt("b@example.test")[0], client.data(letter(b"", SOON))[0]]
        return codes

    assert await entrance.run(talk, "anna-size") == [552, 250, 552, 250, 250, 250]
    assert (await entrance.bench.parts.bus.js.stream_info(RAW)).state.messages == 0


async def test_bad_addresses_and_too_many_recipients_are_refused_one_by_one(entrance: Entrance) -> None:
    await entrance.bench.account("anna-rcpt")
    entrance.limits = SubmissionLimits(recipients=2)
    await entrance.open()

    def talk(client: smtplib.SMTP) -> list[int]:
        codes = [client.mail("")[0]]
        codes += [client.rcpt(to)[0] for to in ("nonsense", "a@x.test", "b@x.test", "c@x.test")]
        return [*codes, client.data(letter(b"", SOON))[0]]

    assert await entrance.run(talk, "anna-rcpt") == [250, 553, 250, 250, 452, 250]


@pytest.mark.parametrize(
    ("field_", "code"),
    [(b"X-EE-Send-At: soon", 554), (b"X-EE-Delivery-Attempts: many", 554), (LATER, 554), (SOON, 250)],
    ids=["no date", "no number", "too late", "soon"],
)
async def test_a_control_header_that_can_not_be_meant_refuses_the_message(
    entrance: Entrance, field_: bytes, code: int
) -> None:
    await entrance.bench.account("anna-controls")
    await entrance.open()
    assert (await entrance.send("anna-controls", "b@example.test", letter(b"", field_))).startswith(f"{code} ")


async def test_a_full_queue_says_later_and_keeps_nothing(entrance: Entrance) -> None:
    await entrance.bench.account("anna-full")
    await entrance.open()
    entrance.bench.parts.bus.jobs_room.limit = 0
    assert (await entrance.send("anna-full", "b@example.test", letter())).startswith("452 4.3.1 ")
    entrance.bench.parts.bus.jobs_room.limit = 1024**3
    assert (await entrance.send("anna-full", "b@example.test", letter(b"", SOON))).startswith("250 ")


async def test_starttls_is_offered_and_needed_before_a_password(entrance: Entrance, tmp_path: Path) -> None:
    await entrance.bench.account("anna-tls")
    make_certificates(tmp_path)
    entrance.config = {"smtp_tls_cert_file": tmp_path / "server.crt", "smtp_tls_key_file": tmp_path / "server.key"}
    await entrance.open()

    def talk(client: smtplib.SMTP) -> list[int]:
        assert b"AUTH" not in client.ehlo()[1]
        codes = [client.docmd("AUTH", "PLAIN AHgAeQ==")[0]]
        client.starttls(context=ssl.create_default_context(cafile=str(tmp_path / "ca.crt")))
        login(client, "anna-tls")
        assert not client.has_extn("starttls")
        codes += [client.mail("a@example.test")[0], client.rcpt("b@example.test")[0]]
        return [*codes, client.data(letter(b"z\r\n" * 100_000, SOON))[0]]

    assert await entrance.run(talk) == [538, 250, 250, 250]


async def test_what_is_sent_ahead_of_tls_is_forgotten(entrance: Entrance, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    entrance.config = {"smtp_tls_cert_file": tmp_path / "server.crt", "smtp_tls_key_file": tmp_path / "server.key"}
    await entrance.open()

    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", entrance.port), 5) as plain:
            plain.recv(1000)
            plain.sendall(b"EHLO x\r\nSTARTTLS\r\nEHLO injected\r\n")
            while b"220 2.0.0" not in plain.recv(1000):
                pass
            context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                secure.sendall(b"NOOP\r\n")
                return secure.recv(1000)

    assert (await asyncio.to_thread(talk)).startswith(b"250 OK")


async def test_tls_from_the_first_byte_and_a_proxy_line_before_it(entrance: Entrance, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    files = {"smtp_tls_cert_file": tmp_path / "server.crt", "smtp_tls_key_file": tmp_path / "server.key"}
    entrance.config = {**files, "smtp_tls": TlsMode.IMPLICIT, "smtp_proxy": True}
    await entrance.open()

    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", entrance.port), 5) as plain:
            plain.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 465\r\n")
            context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                return secure.recv(1000)

    assert (await asyncio.to_thread(talk)).startswith(b"220 ")


@pytest.mark.parametrize(
    ("head", "greeted"),
    [
        (b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 25\r\n", True),
        (b"PROXY UNKNOWN\r\n", True),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 5000 25\r\n", True),
        (b"EHLO client.example.test\r\n", False),
        (b"PROXY TCP4 " + b"x" * 200 + b"\r\n", False),
        (b"", False),
    ],
)
async def test_with_the_proxy_protocol_on_nobody_is_served_without_its_line(
    entrance: Entrance, head: bytes, greeted: bool
) -> None:
    entrance.config = {"smtp_proxy": True}
    entrance.limits = SubmissionLimits(proxy_s=1.5)
    await entrance.open()

    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", entrance.port), 5) as plain:
            plain.sendall(head)
            with suppress(ConnectionResetError):
                return plain.recv(1000)
        return b""

    assert (await asyncio.to_thread(talk)).startswith(b"220 ") is greeted


async def test_without_it_such_a_line_is_no_command(entrance: Entrance) -> None:
    await entrance.open()
    assert (await entrance.run(lambda client: client.docmd("PROXY", "TCP4 192.0.2.7 192.0.2.8 5000 25")))[0] == 500


async def test_slow_clients_are_cut_off_and_hold_up_nobody(entrance: Entrance) -> None:
    await entrance.bench.account("anna-slow")
    entrance.limits = SubmissionLimits(idle_s=3.0, login_s=3.0)
    await entrance.open()

    def dribble() -> bytes:
        with socket.create_connection(("127.0.0.1", entrance.port), 5) as plain:
            said = plain.recv(1000)
            with suppress(ConnectionError):
                for _ in range(100):
                    plain.sendall(b"N")
                    plain.settimeout(0.1)
                    with suppress(TimeoutError):
                        if not (more := plain.recv(1000)):
                            return said
                        said += more
            return said

    slow = asyncio.create_task(asyncio.to_thread(dribble))
    assert (await entrance.send("anna-slow", "b@example.test", letter(b"", SOON))).startswith("250 ")
    assert b"421 4.4.2" in await slow


async def test_a_message_that_never_ends_is_cut_off(entrance: Entrance) -> None:
    await entrance.bench.account("anna-endless")
    entrance.limits = SubmissionLimits(message_s=0.5)
    await entrance.open()

    def talk(client: smtplib.SMTP) -> bytes:
        client.mail("a@example.test")
        client.rcpt("b@example.test")
        client.docmd("DATA")
        client.send(b"Subject: never\r\n")
        return client.getreply()[1]

    assert b"takes too long" in await entrance.run(talk, "anna-endless")


async def test_too_many_strangers_of_one_address_are_turned_away(entrance: Entrance) -> None:
    await entrance.bench.account("anna-many")
    entrance.limits = SubmissionLimits(strangers=2)
    await entrance.open()

    def talk() -> list[bytes]:
        known = entrance.client()
        login(known, "anna-many")
        strangers = [socket.create_connection(("127.0.0.1", entrance.port), 5) for _ in range(3)]
        said = [one.recv(100)[:3] for one in strangers]
        for one in strangers:
            one.close()
        known.quit()
        return said

    async def as_it_should() -> bool:  # once those who tried whether anybody listens are gone
        return await asyncio.to_thread(talk) == [b"220", b"220", b"421"]

    await until_async(as_it_should, "two strangers, and no third")


async def test_a_client_that_ends_lines_oddly_can_not_smuggle_a_second_message(entrance: Entrance) -> None:
    await entrance.bench.account("anna-smuggle")
    await entrance.open()

    def talk(client: smtplib.SMTP) -> bytes:
        client.mail("a@example.test")
        client.rcpt("b@example.test")
        client.docmd("DATA")
        client.send(letter(b"one\r\n\n.\nMAIL FROM:<evil@example.test>\r\n\r.\r\n.\nx\r\n", SOON) + b".\r\n")
        return client.getreply()[1]

    reply = (await entrance.run(talk, "anna-smuggle")).decode()
    _, raw = await entrance.queued(f"250 {reply}")
    assert raw.endswith(b"one\r\n\r\n.\r\nMAIL FROM:<evil@example.test>\r\n\r\n.\r\n\r\nx\r\n")


async def test_two_senders_listen_on_one_port_and_a_stopping_one_finishes_what_it_takes(entrance: Entrance) -> None:
    await entrance.bench.account("anna-two")
    await entrance.open()
    other = await entrance.bench.start(submission=LIMITS)

    def talk(client: smtplib.SMTP) -> list[int]:
        return [client.mail("a@example.test")[0], client.rcpt("b@example.test")[0], client.data(letter(b"", SOON))[0]]

    replies = await asyncio.gather(*(entrance.run(talk, "anna-two") for _ in range(8)))
    assert replies == [[250, 250, 250]] * 8
    other.cancel()
    await asyncio.wait([other])
    assert await entrance.run(talk, "anna-two") == [250, 250, 250]


async def test_a_message_with_an_idempotency_key_is_taken_once(entrance: Entrance) -> None:
    """At the same time too: the second waits and gets the answer of the first (trap 64)."""
    await entrance.bench.account("anna-once")
    await entrance.open()
    key = b"x-EE-idempotency-KEY: one key"
    replies = await asyncio.gather(
        *(
            entrance.send("anna-once", "b@example.test", letter(b"same\r\n", SOON, key, message_id=f"<{n}@a.test>"))
            for n in range(6)
        )
    )
    assert len(set(replies)) == 1 and replies[0].startswith("250 ")
    _, raw = await entrance.queued(replies[0])
    assert b"one key" not in raw
    info = await entrance.bench.parts.bus.js.stream_info(JOBS)
    assert info.state.messages == 1
    assert (await entrance.send("anna-once", "b@example.test", letter(b"other\r\n", SOON, key))).startswith("554 ")
    assert (await entrance.send("anna-once", "c@example.test", letter(b"same\r\n", SOON, key))).startswith("554 ")


async def test_an_idempotency_key_of_a_message_that_was_not_kept_is_free_again(entrance: Entrance) -> None:
    await entrance.bench.account("anna-free")
    await entrance.open()
    key = b"X-EE-Idempotency-Key: k"
    entrance.bench.parts.bus.jobs_room.limit = 0
    assert (await entrance.send("anna-free", "b@example.test", letter(b"", SOON, key))).startswith("452 ")
    entrance.bench.parts.bus.jobs_room.limit = 1024**3
    assert (await entrance.send("anna-free", "b@example.test", letter(b"new\r\n", SOON, key))).startswith("250 ")


async def test_settings_change_the_password_and_close_the_door_while_it_runs(entrance: Entrance) -> None:
    await entrance.bench.account("anna-settings")
    await entrance.open()
    await entrance.set(smtpServerPassword="another one")

    async def taken(secret: str) -> bool:
        try:
            return await entrance.run(lambda client: client.noop()[0], "anna-settings", secret) == 250
        except (smtplib.SMTPException, OSError):
            return False

    await until_async(lambda: taken("another one"), "the new password")
    assert not await taken(SECRET)
    await entrance.set(smtpServerPassword=None)
    await until_async(lambda: taken(SECRET), "the configured password")
    await entrance.set(smtpServerEnabled=False)

    async def closed() -> bool:
        try:
            socket.create_connection(("127.0.0.1", entrance.port), 1).close()
        except OSError:
            return True
        return False

    await until_async(closed, "a closed port")


async def test_where_nobody_has_to_log_in_the_message_names_its_account(entrance: Entrance) -> None:
    await entrance.bench.account("anna-open")
    await entrance.set(smtpServerAuthEnabled=False)
    await entrance.open()

    def talk(client: smtplib.SMTP) -> list[tuple[int, bytes]]:
        client.ehlo()
        replies = []
        for named in ((), (b"x-ee-account: nobody-there",), (b"X-EE-Account: anna-open",)):
            client.mail("a@example.test")
            client.rcpt("b@example.test")
            replies.append(client.data(letter(b"", SOON, *named)))
        return replies

    replies = await entrance.run(talk)
    assert [code for code, _ in replies] == [451, 550, 250]
    job, raw = await entrance.queued(f"250 {replies[-1][1].decode()}")
    assert job.account == "anna-open" and b"anna-open" not in raw


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
async def test_swaks_submits(entrance: Entrance) -> None:
    await entrance.bench.account("anna-swaks")
    await entrance.open()
    subject = f"swaks {ids.new_queue_id()}"
    server = ["--server", f"127.0.0.1:{entrance.port}", "--auth", "PLAIN", "--auth-user", "anna-swaks"]
    mail = ["--auth-password", SECRET, "--from", "anna@example.test", "--to", "bob-swaks@example.test"]
    command = ["swaks", *server, *mail, "--header", f"Subject: {subject}"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout
    mailbox: MailServer = entrance.bench.mail
    assert await asyncio.to_thread(mailbox.messages, "bob-swaks@example.test", wait=15, match=subject.encode())
