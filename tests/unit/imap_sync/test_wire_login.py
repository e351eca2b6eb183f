"""Connecting and logging in: mechanisms, challenges, refusals, STARTTLS; nothing is sent that was not asked for."""

import base64

import pytest

from postbus.common.accounts import TlsOptions
from postbus.common.credentials import Credentials
from postbus.common.errors import AuthenticationFailed, ConnectFailed, PostbusError
from postbus.imap_sync.connection import Endpoint, ImapConnection, open_connection
from postbus.imap_sync.tls import client_context
from tests.unit.imap_sync.scripted_imap import PATIENCE_S, Peer, Play, scripted

pytestmark = pytest.mark.anyio

JAN = Credentials("jan@example.test", "secret")
TOKEN = Credentials("jan@example.test", None, "ya29.token")
GREETING = b"* OK [CAPABILITY IMAP4rev1 %s] hi"


def b64(raw: bytes) -> bytes:
    return base64.b64encode(raw)


async def log_in(play: Play, credentials: Credentials | None = JAN, *, greeting: bytes = b"") -> ImapConnection:
    """Connect to a server that plays its part after the greeting; returns the closed connection."""

    async def greet(peer: Peer) -> None:
        peer.send(GREETING % greeting if not greeting.startswith(b"*") else greeting)
        await play(peer)

    async with scripted(greet) as port:
        endpoint = Endpoint("127.0.0.1", port, secure=False)
        connection = await open_connection(endpoint, credentials, deadline_s=PATIENCE_S)
        connection.abort()
        return connection


async def refused(play: Play, credentials: Credentials = JAN, *, greeting: bytes = b"") -> PostbusError:
    with pytest.raises((AuthenticationFailed, ConnectFailed)) as caught:
        await log_in(play, credentials, greeting=greeting)
    return caught.value


async def test_plain_travels_with_the_command_where_sasl_ir_is_offered() -> None:
    async def play(peer: Peer) -> None:
        token = b64(b"\0jan@example.test\0secret")
        await peer.answer(b"AUTHENTICATE PLAIN " + token, status=b"OK [CAPABILITY IMAP4rev1 IDLE] in")

    connection = await log_in(play, greeting=b"AUTH=PLAIN SASL-IR LOGINDISABLED")
    assert connection.capabilities == {"IMAP4REV1", "IDLE"}


async def test_plain_waits_for_the_prompt_without_sasl_ir() -> None:
    """A bare `+` (quirk 26) and no initial response (quirk 27)."""

    async def play(peer: Peer) -> None:
        tag = await peer.command(b"AUTHENTICATE PLAIN")
        peer.send(b"+")
        assert await peer.line() == b64(b"\0jan@example.test\0secret")
        peer.send(b"* CAPABILITY IMAP4rev1 MOVE", tag + b" OK in")

    assert (await log_in(play, greeting=b"AUTH=PLAIN")).has("MOVE")


async def test_login_answers_odd_prompts_in_turn() -> None:
    """Prompts with a NUL or without a text (quirk 26) (trap 28)."""

    async def play(peer: Peer) -> None:
        tag = await peer.command(b"AUTHENTICATE LOGIN")
        peer.send(b"+ " + b64(b"User Name\0"))
        assert await peer.line() == b64(b"jan@example.test")
        peer.send(b"+ UGFzc3dvcmQ6\0")
        assert await peer.line() == b64(b"secret")
        peer.send(tag + b" OK in")
        await peer.answer(b"CAPABILITY", b"* CAPABILITY IMAP4rev1")

    await log_in(play, greeting=b"AUTH=LOGIN")


async def test_the_login_command_quotes_user_and_password_or_sends_literals() -> None:
    """Never as atoms (quirk 28) (trap 28)."""

    async def play(peer: Peer) -> None:
        tag = await peer.command(b'LOGIN "a\\"b\\\\c" {7}')
        peer.send(b"+ go on")
        assert await peer.literal(9) == "pässw\n".encode() + b"\r\n"
        peer.send(tag + b" OK [CAPABILITY IMAP4rev1] in")

    await log_in(play, Credentials('a"b\\c', "pässw\n"))


async def test_literals_need_no_permission_with_literal_plus() -> None:
    async def play(peer: Peer) -> None:
        tag = await peer.command(b'LOGIN "jan" {3+}')
        assert await peer.literal(5) == "ü\n\r\n".encode()
        peer.send(tag + b" OK [CAPABILITY IMAP4rev1] in")

    await log_in(play, Credentials("jan", "ü\n"), greeting=b"LITERAL+")


async def test_a_server_that_refuses_a_literal_is_heard() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b'LOGIN "jan" {2}', status=b"NO [AUTHENTICATIONFAILED] no literals")

    assert (await refused(play, Credentials("jan", "ü"))).code == "AUTHENTICATIONFAILED"


async def test_a_wrong_password_is_asked_once_and_answered_with_the_servers_text() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"AUTHENTICATE PLAIN", status=b"NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)")
        assert await peer.line() == b""

    error = await refused(play, greeting=b"AUTH=PLAIN SASL-IR")
    assert isinstance(error, AuthenticationFailed)
    assert (error.message, error.code) == ("Invalid credentials (Failure)", "AUTHENTICATIONFAILED")


async def test_a_refusal_without_a_code_has_its_status_for_one() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"LOGIN", status=b"NO nope")

    assert (await refused(play)).code == "NO"


async def test_exchange_that_authenticated_but_is_not_connected_is_a_failed_login() -> None:
    """M365 (quirk 2)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"AUTHENTICATE PLAIN", status=b"BAD User is authenticated but not connected.")
        assert await peer.line() == b""

    assert isinstance(await refused(play, greeting=b"AUTH=PLAIN SASL-IR"), AuthenticationFailed)


async def test_an_unknown_mechanism_falls_back_to_the_login_command() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"AUTHENTICATE PLAIN", status=b"BAD unknown mechanism")
        await peer.answer(b'LOGIN "jan@example.test" "secret"', status=b"OK [CAPABILITY IMAP4rev1] in")

    await log_in(play, greeting=b"AUTH=PLAIN SASL-IR")


async def test_a_throttled_login_is_no_rejected_credential() -> None:
    """M365 (quirk 4) (trap 16)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"LOGIN", status=b"BAD Request is throttled. Suggested Backoff Time: 2920 milliseconds")

    error = await refused(play)
    assert isinstance(error, ConnectFailed)
    assert error.details == {"backoff_s": 2.92}


async def test_no_password_is_sent_where_login_is_disabled() -> None:
    """(quirk 28)."""

    async def play(peer: Peer) -> None:
        assert await peer.line() == b""

    assert (await refused(play, greeting=b"LOGINDISABLED")).code == "LOGINDISABLED"


async def test_a_shared_mailbox_of_exchange_uses_the_login_command() -> None:
    """(quirk 6)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b'LOGIN "jan@x.test\\\\shared" "secret"', status=b"OK [CAPABILITY IMAP4rev1] in")

    await log_in(play, Credentials("jan@x.test\\shared", "secret"), greeting=b"AUTH=PLAIN SASL-IR")


@pytest.mark.parametrize("initial", [True, False])
async def test_xoauth2_answers_the_error_challenge_with_an_empty_line(initial: bool) -> None:
    """(quirk 27)."""
    token = b64(b"user=jan@example.test\x01auth=Bearer ya29.token\x01\x01")

    async def play(peer: Peer) -> None:
        tag = await peer.command(b"AUTHENTICATE XOAUTH2" + (b" " + token if initial else b""))
        if not initial:
            peer.send(b"+ ")
            assert await peer.line() == token
        peer.send(b"+ " + b64(b'{"status":"400"}'))
        assert await peer.line() == b""
        peer.send(tag + b" NO SASL authentication failed")

    error = await refused(play, TOKEN, greeting=b"AUTH=XOAUTH2 AUTH=PLAIN" + (b" SASL-IR" if initial else b""))
    assert isinstance(error, AuthenticationFailed)
    assert error.details == {"challenge": '{"status":"400"}'}


async def test_oauthbearer_names_host_and_port_and_ends_with_a_dummy_answer() -> None:
    """(quirk 27)."""

    async def play(peer: Peer) -> None:
        tag, _, rest = (await peer.line()).partition(b" ")
        response = base64.b64decode(rest.removeprefix(b"AUTHENTICATE OAUTHBEARER "))
        assert response.startswith(b"n,a=jan@example.test,\x01host=127.0.0.1\x01port=")
        assert response.endswith(b"\x01auth=Bearer ya29.token\x01\x01")
        peer.send(b"+ " + b64(b'{"status":"invalid_token"}'))
        assert await peer.line() == b"AQ=="
        peer.send(tag + b" NO failed")

    assert isinstance(await refused(play, TOKEN, greeting=b"AUTH=OAUTHBEARER SASL-IR"), AuthenticationFailed)


async def test_a_nul_in_a_password_is_refused_before_it_is_sent() -> None:
    async def play(peer: Peer) -> None:
        assert await peer.line() == b""

    for greeting in (b"", b"AUTH=PLAIN SASL-IR"):
        assert isinstance(await refused(play, Credentials("jan", "a\0b"), greeting=greeting), AuthenticationFailed)


async def test_the_client_names_itself_and_enables_what_the_sync_needs() -> None:
    """Both extensions by name for James (quirk 19); never IMAP4rev2, offered or not (quirk 20) (trap 29)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b'ID ("name" "Postbus"', b'* ID ("name" "x" "version" "1")')
        await peer.answer(b"LOGIN", status=b"OK [CAPABILITY IMAP4rev1 ID ENABLE QRESYNC IMAP4rev2] in")
        await peer.answer(b"ENABLE CONDSTORE QRESYNC", b"* ENABLED CONDSTORE QRESYNC")

    connection = await log_in(play, greeting=b"ID")
    assert connection.enabled == {"CONDSTORE", "QRESYNC"}
    assert connection.has("CONDSTORE")


async def test_a_server_that_refuses_id_and_enable_is_used_without() -> None:
    """(quirk 31)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"LOGIN", status=b"OK [CAPABILITY IMAP4rev1 ID ENABLE QRESYNC] in")
        await peer.answer(b"ID", status=b"BAD what")
        await peer.answer(b"ENABLE", status=b"BAD what")

    assert (await log_in(play)).enabled == frozenset()


@pytest.mark.parametrize(
    ("greeting", "code"),
    [(b"* BYE [UNAVAILABLE] too many connections", "UNAVAILABLE"), (b"* BYE go away", "BYE")],
)
async def test_a_greeting_may_be_a_refusal(greeting: bytes, code: str) -> None:
    """(quirk 29)."""

    async def play(peer: Peer) -> None:
        await peer.gone()

    error = await refused(play, greeting=greeting)
    assert isinstance(error, ConnectFailed) and error.code == code


async def test_what_is_no_imap_server_is_told_apart() -> None:
    async def play(peer: Peer) -> None:
        await peer.gone()

    for greeting in (b"* HTTP/1.1 400 Bad Request", b"* 12 EXISTS", b"*SSH-2.0-OpenSSH_9.2"):
        with pytest.raises(PostbusError, match="greet"):
            await log_in(play, greeting=greeting)


async def test_a_server_that_says_nothing_is_a_timeout() -> None:
    async def play(peer: Peer) -> None:
        await peer.gone()

    async with scripted(play) as port:
        with pytest.raises(ConnectFailed) as caught:
            await open_connection(Endpoint("127.0.0.1", port, secure=False), JAN, deadline_s=0.1)
        assert caught.value.code == "ETIMEDOUT"


async def test_a_port_that_nobody_listens_on_and_a_host_that_nobody_knows(free_port: int) -> None:
    for host, code in (("127.0.0.1", "ECONNREFUSED"), ("nobody.invalid", "ENOTFOUND")):
        with pytest.raises(ConnectFailed) as caught:
            await open_connection(Endpoint(host, free_port, secure=False), JAN, deadline_s=PATIENCE_S)
        assert caught.value.code == code


async def test_metadata_addresses_are_never_connected_to() -> None:
    with pytest.raises(ConnectFailed) as caught:
        await open_connection(Endpoint("169.254.169.254", 143, secure=False), JAN, deadline_s=PATIENCE_S)
    assert caught.value.code == "EACCES"


async def test_tls_with_who_does_not_speak_it_is_a_tls_failure() -> None:
    async def play(peer: Peer) -> None:
        peer.send(b"* OK hi")
        await peer.gone()

    async with scripted(play) as port:
        with pytest.raises(ConnectFailed) as caught:
            await open_connection(Endpoint("127.0.0.1", port, secure=True), JAN, deadline_s=PATIENCE_S)
        assert caught.value.code == "ETLS"


@pytest.mark.parametrize("injected", [b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", b"* OK half"])
async def test_what_is_injected_behind_the_answer_to_starttls_ends_the_connection(injected: bytes) -> None:
    """(quirk 30)."""

    async def play(peer: Peer) -> None:
        tag = await peer.command(b"STARTTLS")
        peer.writer.write(tag + b" OK begin\r\n" + injected)
        assert await peer.line() == b""

    with pytest.raises(PostbusError, match="STARTTLS"):
        await log_in(play, greeting=b"STARTTLS")


async def test_a_refused_starttls_sends_no_password() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"STARTTLS", status=b"BAD not now")
        assert await peer.line() == b""

    assert isinstance(await refused(play, greeting=b"STARTTLS"), ConnectFailed)


def test_equal_tls_options_share_one_context() -> None:
    assert client_context(TlsOptions()) is client_context(TlsOptions(min_version=None))
    assert client_context(TlsOptions()) is not client_context(TlsOptions(reject_unauthorized=False))
    assert client_context(TlsOptions(), ignore_cert_errors=True) is client_context(
        TlsOptions(reject_unauthorized=False)
    )
