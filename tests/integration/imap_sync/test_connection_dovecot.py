"""The typed connection against real Dovecot: plain, STARTTLS and TLS, QRESYNC, IDLE, APPEND, downloads, and losses."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from postbus.common.accounts import TlsOptions
from postbus.common.credentials import Credentials
from postbus.common.errors import AuthenticationFailed, CommandRefused, ConnectFailed, ConnectionLost, NotFound
from postbus.imap_sync.connection import Endpoint, ImapConnection, open_connection
from postbus.imap_sync.protocol.values import Fetched, KnownState, UidRange
from tests.mailserver import MailServer

pytestmark = pytest.mark.anyio

METADATA = ("UID", "FLAGS", "ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE", "RFC822.SIZE")
TRUSTING = TlsOptions(reject_unauthorized=False)
ODD = b'From: "Jan \\"J\\" \xc3\x9c" <jan@x.test>\r\nSubject: a "quoted :(" {3}\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n'


@pytest.fixture
def user() -> str:
    """An address of the test's own."""
    return f"wire-{uuid4().hex[:12]}@example.test"


@pytest.fixture(scope="module")
def bare_mail() -> Iterator[MailServer]:
    """A server without encryption, and without the extensions that make things fast."""
    dropped = (
        *("CONDSTORE", "QRESYNC", "ENABLE", "IDLE", "UIDPLUS", "ESEARCH", "LIST-STATUS", "LIST-EXTENDED"),
        *("SPECIAL-USE", "UNSELECT", "LITERAL+", "SASL-IR"),
    )
    with MailServer(drop_caps=",".join(dropped), strict=True, mta="none", dovecot_set=["ssl = no"]) as server:
        yield server


@asynccontextmanager
async def logged_in(mail: MailServer, user: str, *, port: str = "imap") -> AsyncIterator[ImapConnection]:
    endpoint = Endpoint("127.0.0.1", mail.info[port], secure=port == "imaps", tls=TRUSTING)
    connection = await open_connection(endpoint, Credentials(user, mail.password))
    try:
        yield connection
    finally:
        await connection.logout()


async def uids(connection: ImapConnection) -> list[UidRange]:
    return await connection.search(["ALL"])


@pytest.mark.parametrize("port", ["imap", "imaps"])
async def test_mail_is_read_over_starttls_and_over_tls(mail: MailServer, user: str, port: str) -> None:
    mail.deliver(user, raw=ODD)
    async with logged_in(mail, user, port=port) as connection:
        assert connection.enabled == {"QRESYNC", "CONDSTORE"}
        selected = await connection.select("INBOX", read_only=True)
        assert (selected.exists, selected.read_only) == (1, True)
        (row,) = [row async for row in connection.fetch([UidRange(1, 1)], METADATA)]
        assert isinstance(row, Fetched) and row.envelope is not None and row.structure is not None
        assert row.envelope.subject == b'a "quoted :(" {3}'
        assert row.envelope.from_[0].name == 'Jan "J" Ü'.encode()
        assert (row.structure.number, row.structure.content_type) == ("1", "text/plain")


async def test_no_encryption_is_used_where_none_is_offered(bare_mail: MailServer, user: str) -> None:
    async with logged_in(bare_mail, user) as connection:
        assert not connection.enabled
        assert (await connection.select("INBOX")).exists == 0


@pytest.mark.parametrize("port", ["imap", "imaps"])
async def test_an_untrusted_certificate_is_refused_before_the_password(mail: MailServer, user: str, port: str) -> None:
    endpoint = Endpoint("127.0.0.1", mail.info[port], secure=port == "imaps")
    with pytest.raises(ConnectFailed, match="certificate") as caught:
        await open_connection(endpoint, Credentials(user, "pass"))
    assert caught.value.code == "ETLS"


async def test_certificate_errors_can_be_ignored_and_versions_demanded(mail: MailServer, user: str) -> None:
    tls = TlsOptions(min_version="TLSv1.3")
    endpoint = Endpoint("127.0.0.1", mail.info["imaps"], secure=True, tls=tls, ignore_cert_errors=True)
    connection = await open_connection(endpoint, Credentials(user, "pass"))
    await connection.logout()
    assert connection.closed


async def test_a_wrong_password_brings_the_servers_own_text(mail: MailServer, user: str) -> None:
    endpoint = Endpoint("127.0.0.1", mail.info["imap"], secure=False, tls=TRUSTING)
    with pytest.raises(AuthenticationFailed, match="Authentication failed") as caught:
        await open_connection(endpoint, Credentials(user, "wrong"))
    assert caught.value.code == "AUTHENTICATIONFAILED"


async def test_odd_passwords_and_tokens_reach_the_server_whole(mail: MailServer, user: str) -> None:
    endpoint = Endpoint("127.0.0.1", mail.info["imap"], secure=False, tls=TRUSTING)
    for credentials in (Credentials(user, 'päss "\\ {3}'), Credentials(user, None, "no.such.token")):
        with pytest.raises(AuthenticationFailed):
            await open_connection(endpoint, credentials)


async def test_an_access_token_logs_in(mail: MailServer, user: str) -> None:
    token = await asyncio.to_thread(mail.token, user)
    endpoint = Endpoint("127.0.0.1", mail.imap, secure=False, tls=TRUSTING)
    connection = await open_connection(endpoint, Credentials(user, None, token["access_token"]))
    assert (await connection.select("INBOX")).exists == 0
    await connection.logout()


async def test_mailboxes_come_with_use_subscription_and_status_in_one_go(mail: MailServer, user: str) -> None:
    mail.deliver(user)
    async with logged_in(mail, user) as connection:
        listed = {row.path: row for row in await connection.list_mailboxes(with_status=True)}
        assert "\\sent" in listed["Sent"].attributes and "\\subscribed" in listed["Sent"].attributes
        inbox = listed["INBOX"].status
        assert inbox is not None and (inbox.messages, inbox.uid_next) == (1, 2)
        assert await connection.statuses(["INBOX", "nope"]) == {"INBOX": inbox}
        with pytest.raises(CommandRefused):
            await connection.status("nope")


async def test_append_stores_flags_and_date_and_says_where(mail: MailServer, user: str) -> None:
    moment = datetime(2020, 2, 29, 12, 30, 15, tzinfo=UTC)
    async with logged_in(mail, user) as connection:
        appended = await connection.append("Sent", ODD, flags=["\\Seen", "$Custom"], internal_date=moment)
        selected = await connection.select("Sent")
        assert appended.uid_validity == selected.uid_validity
        assert appended.uid is not None
        spans = [UidRange(appended.uid, appended.uid)]
        (row,) = [row async for row in connection.fetch(spans, ("UID", "FLAGS", "INTERNALDATE"))]
        assert isinstance(row, Fetched) and row.flags is not None
        assert {"\\Seen", "$Custom"} <= set(row.flags)
        assert row.internal_date == moment
        await connection.store_flags(spans, add=["\\Answered"], remove=["\\Seen"])
        ((_, flags),) = await connection.fetch_flags_compact(spans)
        assert "\\Answered" in flags and "\\Seen" not in flags


async def test_qresync_and_changedsince_tell_what_happened_meanwhile(mail: MailServer, user: str) -> None:
    mail.deliver(user, n=5)
    async with logged_in(mail, user) as watcher, logged_in(mail, user) as other:
        before = await watcher.select("INBOX")
        assert before.uid_validity is not None and before.highest_modseq is not None
        await watcher.unselect()
        await other.select("INBOX")
        await other.store_flags([UidRange(2, 2)], add=["\\Flagged"])
        await other.store_flags([UidRange(4, 4)], add=["\\Deleted"])
        await other._wire.run("EXPUNGE")  # the sync never does: it is somebody else's hand
        known = KnownState(before.uid_validity, before.highest_modseq, (UidRange(1, 5),))
        after = await watcher.select("INBOX", known=known)
        assert after.vanished == (UidRange(4, 4),)
        assert [(row.uid, "\\Flagged" in (row.flags or ())) for row in after.changed] == [(2, True)]
        assert (after.exists, watcher.exists) == (4, 4)
        changed = await watcher.fetch_flags_compact([UidRange(1, 5)], changed_since=before.highest_modseq)
        assert [uid for uid, _ in changed] == [2]


async def test_idle_wakes_up_for_new_mail(mail: MailServer, user: str) -> None:
    async with logged_in(mail, user) as connection:
        await connection.select("INBOX")
        waiting = asyncio.create_task(connection.idle(max_s=20))
        await asyncio.to_thread(mail.deliver, user)
        await asyncio.wait_for(waiting, 10)
        assert connection.exists == 1
        await connection.idle(max_s=0.05)


async def test_a_kicked_connection_is_lost_at_once(mail: MailServer, user: str) -> None:
    mail.deliver(user)
    async with logged_in(mail, user) as connection:
        await connection.select("INBOX")
        waiting = asyncio.create_task(connection.idle(max_s=60))
        await asyncio.sleep(0)
        while not connection.closed:
            await asyncio.to_thread(mail.kick, user)
        with pytest.raises(ConnectionLost):
            await asyncio.wait_for(waiting, 5)
        with pytest.raises(ConnectionLost):
            await connection.noop()


async def test_a_connection_that_breaks_inside_a_fetch_is_an_error_and_no_short_answer(
    mail: MailServer, user: str
) -> None:
    mail.seed(user, 2000)
    endpoint = Endpoint("127.0.0.1", mail.proxy["imap"], secure=False, tls=TRUSTING)
    connection = await open_connection(endpoint, Credentials(user, mail.password))
    await connection.select("INBOX")
    await asyncio.to_thread(mail.proxy_set, "imap", rate=100_000)
    seen = 0
    with pytest.raises(ConnectionLost):
        async for _ in connection.fetch([UidRange(1, 2000)], ("UID", "BODY.PEEK[]", "ENVELOPE")):
            seen += 1
            if seen == 1:
                await asyncio.to_thread(mail.proxy_drop, "imap")
    await asyncio.to_thread(mail.proxy_clear, "imap")
    assert 0 < seen < 2000


async def test_a_large_message_streams_with_flat_memory(mail: MailServer, user: str) -> None:
    body = (b"x" * 76 + b"\r\n") * 340_000
    async with logged_in(mail, user, port="imaps") as connection:
        appended = await connection.append("Drafts", b"Subject: large\r\n\r\n" + body)
        assert appended.uid is not None
        await connection.select("Drafts")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = 0
        async for piece in connection.stream_section(appended.uid, "TEXT"):
            size += len(piece)
            assert len(piece) <= 512 * 1024
        assert size == len(body)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # KB
        with pytest.raises(NotFound):
            await anext(connection.stream_section(appended.uid + 1, ""))


async def test_everything_works_without_the_extensions(bare_mail: MailServer, user: str) -> None:
    bare_mail.deliver(user, n=3)
    async with logged_in(bare_mail, user) as connection:
        listed = {row.path: row for row in await connection.list_mailboxes(with_status=True)}
        assert listed["INBOX"].status is None and "\\subscribed" in listed["Sent"].attributes
        assert (await connection.statuses(["INBOX", "nope"]))["INBOX"].messages == 3
        selected = await connection.select("INBOX")
        assert (selected.exists, selected.highest_modseq) == (3, None)
        assert await uids(connection) == [UidRange(1, 3)]
        assert (await connection.append("Sent", ODD)).uid is None
        await connection.store_flags([UidRange(1, 1)], add=["\\Deleted"])
        await connection.unselect()
        await connection.select("INBOX")
        assert await uids(connection) == [UidRange(1, 3)]
        assert len(await connection.fetch_flags_compact([UidRange(1, 3)])) == 3


async def test_names_in_any_script_are_selected_as_they_are_listed(mail: MailServer, user: str) -> None:
    async with logged_in(mail, user) as connection:
        names = ["Entwürfe & Co", "台北", 'a "b" \\c', "📧"]
        for name in names:
            await connection._wire.run("CREATE", connection._names.argument(name))
        listed = {row.path for row in await connection.list_mailboxes(with_status=False)}
        assert set(names) <= listed
        for name in names:
            assert (await connection.select(name)).path == name
