"""The mail system of tests: what its options, special recipients, tokens and faults really do."""

import email
import email.message
import email.policy
import imaplib
import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from io import BufferedRWPair
from pathlib import Path

import pytest

from tests.mailserver import MailServer, sample_message
from tests.mailserver.dovecot import IMAP_CAPABILITIES
from tests.mailserver.net import HOST
from tests.mailserver.strict_imap import FilteredConnection, Splitter, StrictFilter

PATIENCE_S = 10.0
ROOT = Path(__file__).resolve().parents[3]
DROPPED = "CONDSTORE,QRESYNC,IDLE,MOVE,UIDPLUS,SPECIAL-USE"


@pytest.fixture(scope="module")
def odd_mail() -> Iterator[MailServer]:
    """A server that lacks much, refuses it too, writes traces and has a quota."""
    with MailServer(drop_caps=[DROPPED], strict=True, rawlog=True, quota="64K", mta="none") as server:
        yield server


def submit(mail: MailServer, to: str, sender: str = "alice@example.test", *, tls: str = "starttls") -> str:
    """Submit a sample; its Message-ID."""
    raw = sample_message(to, Subject="x")
    client = mail.smtp_client(sender, tls=tls)
    try:
        client.sendmail(sender, to, raw)
    finally:
        client.close()
    return str(email.message_from_bytes(raw)["Message-ID"])


def report(mail: MailServer, user: str, message_id: str, action: str = "failed") -> dict[str, str]:
    """Fields of the delivery status notification about a message."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for raw in mail.messages(user, match=message_id.encode()):
            fields = _status_fields(raw)
            if fields.get("action") == action:
                return fields
        time.sleep(0.05)
    raise AssertionError(f"no {action} report for {message_id}")


def _status_fields(raw: bytes) -> dict[str, str]:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    for part in message.walk():
        if part.get_content_type() == "message/delivery-status":
            blocks = part.get_payload()
            assert isinstance(blocks, list)
            return {
                name.lower(): str(value)
                for block in blocks
                if isinstance(block, email.message.Message)
                for name, value in block.items()
            }
    return {}


def code_of(action: Callable[[], object]) -> int:
    """250, or the code of the refusal."""
    try:
        action()
    except smtplib.SMTPRecipientsRefused as refused:
        return int(next(iter(refused.recipients.values()))[0])
    except smtplib.SMTPResponseException as refused:
        return refused.smtp_code
    return 250


def log_in_with_token(port: int, user: str, token: str, mechanism: str = "XOAUTH2") -> None:
    """Raises imaplib.IMAP4.error when the token is not accepted."""
    answer = f"user={user}\1auth=Bearer {token}\1\1"
    if mechanism == "OAUTHBEARER":
        answer = f"n,a={user},\1host=localhost\1port=143\1auth=Bearer {token}\1\1"
    client = imaplib.IMAP4(HOST, port)
    try:
        client.authenticate(mechanism, lambda challenge: b"" if challenge else answer.encode())
    finally:
        client.shutdown()


def idle(mail: MailServer, user: str, port: int | None = None) -> BufferedRWPair:
    """A connection in IDLE on INBOX."""
    connection = socket.create_connection((HOST, port or mail.imap), timeout=PATIENCE_S)
    stream = connection.makefile("rwb")
    connection.close()
    stream.readline()
    for tag, command in ((b"a", f'LOGIN "{user}" pass'), (b"b", "SELECT INBOX")):
        stream.write(tag + b" " + command.encode() + b"\r\n")
        stream.flush()
        while not stream.readline().startswith(tag + b" "):
            pass
    stream.write(b"i IDLE\r\n")
    stream.flush()
    assert stream.readline().startswith(b"+")
    return stream


def test_any_user_logs_in_and_a_wrong_password_is_refused_at_once(mail: MailServer) -> None:
    assert mail.info["started_in"] < 10
    mail.imap_client("anyone@any.domain.test").logout()
    started = time.monotonic()
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        mail.imap_client("anyone@any.domain.test", "wrong")
    assert time.monotonic() - started < 3
    with pytest.raises(smtplib.SMTPAuthenticationError):
        mail.smtp_client("anyone@any.domain.test", "wrong")


def test_the_capability_list_is_what_this_dovecot_advertises(mail: MailServer) -> None:
    client = mail.imap_client("caps@example.test")
    assert set(client.capability()[1][0].decode().split()) == set(IMAP_CAPABILITIES)
    listing = b"\n".join(row for row in client.list()[1] if isinstance(row, bytes))
    assert all(use in listing for use in (b"\\Sent", b"\\Drafts", b"\\Trash", b"\\Junk", b"\\Archive"))
    client.logout()


def test_certificates_verify_against_the_authority_and_only_so(mail: MailServer) -> None:
    mail.imap_client("tls@example.test", tls=True).logout()
    mail.smtp_client("tls@example.test", tls="tls").quit()
    client = imaplib.IMAP4("localhost", mail.imap)
    client.starttls(mail.ssl_context())
    client.logout()
    with pytest.raises(ssl.SSLCertVerificationError):
        imaplib.IMAP4_SSL("localhost", mail.imaps, ssl_context=ssl.create_default_context())


def test_a_delivery_shows_in_idle(mail: MailServer) -> None:
    stream = idle(mail, "idle@example.test")
    mail.deliver("idle@example.test")
    while b"EXISTS" not in stream.readline():
        pass
    stream.close()


def test_seeding_fills_a_mailbox_with_flags(mail: MailServer) -> None:
    mail.seed("seed@example.test", 500)
    mail.seed("seed@example.test", 10, mailbox="Projects/Deep", flags="S")
    client = mail.imap_client("seed@example.test")
    assert client.select("INBOX")[1] == [b"500"]
    client.select("Projects/Deep")
    assert client.search(None, "SEEN")[1][0].split()[-1] == b"10"
    client.logout()


@pytest.mark.parametrize(
    ("to", "status"),
    [
        ("unknown+tag@example.test", "5.1.1"),
        ("anyone@unknown.test", "5.1.1"),
        ("bounce-554@x.test", "5.7.1"),
        ("full@example.test", "5.2.2"),
        ("who@nxdomain.test", "5.4.4"),
    ],
)
def test_special_recipients_are_reported_to_the_sender(mail: MailServer, to: str, status: str) -> None:
    fields = report(mail, "bounced@example.test", submit(mail, to, "bounced@example.test"))
    assert fields["status"] == status
    assert to in fields["final-recipient"]


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("reject-553-abc@example.test", 553),
        ("defer-451@example.test", 451),
        ("rejectdata-554@example.test", 554),
        ("deferdata-451@example.test", 451),
        ("greylist-rcpt-once@example.test", 450),
        ("plain@example.test", 250),
    ],
)
def test_special_recipients_are_answered_at_submission(mail: MailServer, to: str, code: int) -> None:
    assert code_of(lambda: submit(mail, to)) == code


def test_slow_recipients_take_their_time(mail: MailServer) -> None:
    started = time.monotonic()
    assert code_of(lambda: submit(mail, "slow-1@example.test")) == 250
    assert time.monotonic() - started > 0.9


def test_submission_wants_a_login_and_the_mx_port_does_not(mail: MailServer) -> None:
    with smtplib.SMTP(HOST, mail.submission) as client:
        assert code_of(lambda: client.sendmail("a@example.test", "b@example.test", b"x")) == 554
    with smtplib.SMTP(HOST, mail.mx) as client:
        client.sendmail("outside@elsewhere.test", "mx@example.test", sample_message("mx@example.test"))
    assert mail.messages("mx@example.test", wait=PATIENCE_S)


def test_greylisted_mail_is_delayed_and_stuck_mail_is_queued(mail: MailServer) -> None:
    stuck = submit(mail, "stuck@example.test", "deferred@example.test")
    late = submit(mail, "greylist@example.test", "deferred@example.test")
    assert report(mail, "deferred@example.test", stuck, "delayed")["status"].startswith("4.")
    assert any("stuck@example.test" in json.dumps(entry) for entry in mail.queue())
    assert mail.messages("greylist@example.test", wait=PATIENCE_S, match=late.encode())
    mail.http_call("/queue/drop", b"")
    assert mail.queue() == []


def test_people_who_are_away_answer_and_spam_is_filed(mail: MailServer) -> None:
    message_id = submit(mail, "vacation@example.test", "asker@example.test")
    answers = mail.messages("asker@example.test", wait=PATIENCE_S, match=b"Auto-Submitted: auto-replied")
    assert f"In-Reply-To: {message_id}".encode() in answers[0]
    mail.deliver("junk@example.test", X_Spam="yes")
    assert len(mail.messages("junk@example.test", "Junk")) == 1


def test_tokens_log_in_until_they_are_revoked(mail: MailServer) -> None:
    user = "oauth@example.test"
    token = mail.token(user)["access_token"]
    log_in_with_token(mail.imap, user, token)
    log_in_with_token(mail.imap, user, token, "OAUTHBEARER")
    with pytest.raises(imaplib.IMAP4.error):
        log_in_with_token(mail.imap, "other@example.test", token)
    mail.expire_tokens(user)
    with pytest.raises(imaplib.IMAP4.error):
        log_in_with_token(mail.imap, user, token)


def test_a_code_is_exchanged_and_refreshed_as_clients_do_it(mail: MailServer) -> None:
    oauth = mail.info["oauth"]
    client = {"client_id": oauth["client_id"], "redirect_uri": "http://localhost/cb"}
    query = urllib.parse.urlencode({**client, "state": "s1", "login_hint": "u"})
    location = redirect_of(f"{oauth['authorize']}?{query}")
    back = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(location).query))
    assert back["state"] == "s1"
    login = {**client, "client_secret": oauth["client_secret"]}
    tokens = ask_token(oauth["token"], {**login, "grant_type": "authorization_code", "code": back["code"]})
    refresh = {**login, "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert ask_token(oauth["token"], refresh)["access_token"] != tokens["access_token"]
    mail.oauth_config(fail={"refresh_token": "invalid_grant"})
    try:
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask_token(oauth["token"], refresh)
    finally:
        mail.oauth_config(fail={})
    mail.revoke("u")
    assert mail.http_call("/oauth/introspect", b"", token=tokens["access_token"]) == {"active": False}


def redirect_of(url: str) -> str:
    """Where a request is sent on to."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object, **__: object) -> None:
            return None

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(Stay).open(url)
    return str(caught.value.headers["Location"])


def ask_token(url: str, form: dict[str, str]) -> dict[str, str]:
    with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode()) as answer:
        return dict(json.load(answer))


def test_dropped_capabilities_are_not_advertised_and_their_commands_are_refused(odd_mail: MailServer) -> None:
    client = odd_mail.imap_client("odd@example.test")
    assert not set(DROPPED.split(",")) & set(client.capability()[1][0].decode().split())
    odd_mail.deliver("odd@example.test")
    assert b"APPENDUID" not in (client.append("INBOX", "", "", sample_message("odd@example.test"))[1][0] or b"")
    client.select("INBOX")
    assert client.response("HIGHESTMODSEQ")[1] == [None]
    with pytest.raises(imaplib.IMAP4.error, match="BAD"):
        client.uid("MOVE", "1", "Trash")
    client.logout()
    assert {tried["cap"] for tried in odd_mail.proxy_info()["strict"]["denied"]} == {"MOVE"}
    traces = list(Path(odd_mail.info["logs"]["rawlog"]).iterdir())
    assert any("SELECT" in trace.read_text(errors="replace") for trace in traces)


def test_a_message_over_quota_is_refused(odd_mail: MailServer) -> None:
    client = odd_mail.imap_client("quota@example.test")
    answer = client.append("INBOX", "", "", b"Subject: x\r\n\r\n" + b"x" * 100_000)
    assert b"OVERQUOTA" in answer[1][0]
    client.logout()


def test_without_an_mta_there_are_no_smtp_ports(odd_mail: MailServer) -> None:
    assert odd_mail.info["mta"] == "none"
    assert odd_mail.info["submission"] is None


def test_logins_namespaces_and_certificates_can_be_different() -> None:
    options = {"users": "bob@example.test:secret", "only_users": True, "require_tls": True, "oauth": "jwt"}
    names = {"prefix": "INBOX.", "separator": ".", "mailboxes": "Gesendet=\\Sent,Entw&APw-rfe=\\Drafts"}
    with MailServer(**options, **names, cert="expired", mta="none") as odd:
        client = imaplib.IMAP4("localhost", odd.imap)
        assert "LOGINDISABLED" in client.capabilities
        lenient = ssl.create_default_context()
        lenient.check_hostname, lenient.verify_mode = False, ssl.CERT_NONE
        client.starttls(lenient)
        client.login("bob@example.test", "secret")
        listing = b"\n".join(row for row in client.list()[1] if isinstance(row, bytes))
        assert b'"." INBOX.Gesendet' in listing
        client.logout()
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            odd.imap_client("bob@example.test", "secret", tls=True)


def test_faults_of_a_proxy_reach_its_clients(mail: MailServer) -> None:
    port = mail.proxy["imap"]
    stream = idle(mail, "fault@example.test", port)
    mail.proxy_drop("imap")
    with pytest.raises(OSError):
        stream.readline()
    mail.proxy_set("imap", mode="reset")
    with pytest.raises((OSError, imaplib.IMAP4.error)):
        imaplib.IMAP4(HOST, port)
    mail.proxy_clear("imap")
    mail.deliver("fault@example.test", sample_message("fault@example.test") + b"z" * 200_000)
    mail.proxy_set("imap", cut_after=20_000)
    client = mail.imap_client("fault@example.test", port=port)
    client.select("INBOX")
    with pytest.raises((OSError, imaplib.IMAP4.error)):
        client.fetch("1", "(BODY[])")
    mail.proxy_set("imap", cut_after=0, latency_ms=150)
    started = time.monotonic()
    imaplib.IMAP4(HOST, port).shutdown()
    assert time.monotonic() - started > 0.15
    mail.proxy_clear("imap")


def test_a_user_can_be_kicked_and_a_server_restarted_on_its_port(mail: MailServer) -> None:
    stream = idle(mail, "kicked@example.test")
    mail.kick("kicked@example.test")
    while line := stream.readline():
        assert line.startswith(b"*")
    mail.service("dovecot", "stop")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, mail.imap))
    mail.service("dovecot", "start")
    mail.imap_client("kicked@example.test").logout()


def test_the_command_line_starts_asks_and_stops(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = Path("/tmp") / f"ms-cli-{os.getpid()}"

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "tests.mailserver", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    info = json.loads(run("start", "--dir", str(directory), "--mta", "none").stdout)
    try:
        assert json.loads(run("status", str(directory)).stdout)["pid"] == info["pid"]
        assert "is in use" in run("start", "--dir", str(directory)).stderr
        assert "Sent" in run("doveadm", str(directory), "mailbox", "list", "-u", "x@example.test").stdout
    finally:
        assert run("stop", str(directory)).returncode == 0
    assert not directory.exists()


def test_a_killed_launcher_takes_its_servers_and_its_directory_along() -> None:
    with MailServer(mta="none") as doomed:
        os.kill(doomed.info["pid"], signal.SIGKILL)
        until = time.monotonic() + PATIENCE_S
        while Path(doomed.info["dir"]).exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert not Path(doomed.info["dir"]).exists()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, doomed.imap))


def test_an_option_that_is_none_is_refused() -> None:
    with pytest.raises(RuntimeError):
        MailServer(port={"nonsense": 1}).start()


def test_the_strict_filter_looks_at_commands_and_never_into_literals() -> None:
    wire = b"a APPEND x {10}\r\nb UID MOVE \r\nc UID MOVE 1 x\r\nd NOOP\r\n"
    for cut in range(len(wire)):
        connection = FilteredConnection(StrictFilter(["MOVE"]))
        passed, answers = zip(*(connection.from_client(part) for part in (wire[:cut], wire[cut:])), strict=True)
        assert b"".join(passed) == b"a APPEND x {10}\r\nb UID MOVE \r\nd NOOP\r\n"
        assert b"".join(answers).startswith(b"c BAD")


def test_the_splitter_tells_lines_from_literals() -> None:
    pieces = Splitter().feed(b"* 1 FETCH (BODY[] {4}\r\nx\r\ny FLAGS ())\r\n* 2 EXISTS\r\n")
    assert [kind for kind, _ in pieces] == ["line", "data", "cont", "line"]
