"""IMAP through real proxies of every kind, to a real Dovecot that only the proxy is able to find by its name."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from postbus.common import tunnel
from postbus.common.accounts import AccountState, TlsOptions
from postbus.common.credentials import Credentials
from postbus.common.errors import AuthenticationFailed, ConnectFailed
from postbus.common.proxies import parse_proxy
from postbus.imap_sync import tls
from postbus.imap_sync.connection import Endpoint, ImapConnection, open_connection
from tests.integration.imap_sync.syncing import System
from tests.mailserver import MailServer
from tests.servers import free_port
from tests.servers.proxy import ProxyServer

pytestmark = pytest.mark.anyio

HOST = "imap.mail.test"  # in the server's certificate, and nowhere in DNS
HOSTS = {HOST: "127.0.0.1"}
SCHEMES = ["socks5", "socks4", "http", "https"]


@pytest.fixture(autouse=True)
def trusted(mail: MailServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trust the authority that signed the server's certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", mail.info["tls"]["ca"])
    caches: list[Callable[[], None]] = [tls._context.cache_clear, tunnel._tls.cache_clear]
    for clear in caches:
        clear()
    yield
    for clear in caches:
        clear()


def proxy_of(mail: MailServer, scheme: str, *, login: str | None = None, glued: bool = False) -> ProxyServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if scheme == "https" else None
    if context is not None:
        context.load_cert_chain(mail.info["tls"]["cert"], mail.info["tls"]["key"])
    return ProxyServer(login=login, hosts=HOSTS, glued=glued, tls=context)


async def log_in(mail: MailServer, url: str, port: str = "imaps", *, deadline_s: float = 10.0) -> ImapConnection:
    endpoint = Endpoint(HOST, mail.info[port], secure=port == "imaps", proxy=parse_proxy(url))
    who = Credentials(f"proxied-{uuid4().hex[:8]}@example.test", mail.password)
    return await open_connection(endpoint, who, deadline_s=deadline_s)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("port", ["imaps", "imap"])
async def test_mail_is_read_through_a_proxy_that_finds_the_server(mail: MailServer, scheme: str, port: str) -> None:
    """TLS is with the mail server: its certificate is checked against its own name, which only the proxy resolves."""
    async with proxy_of(mail, scheme) as proxy:
        connection = await log_in(mail, proxy.url(scheme), port)
        assert (await connection.select("INBOX")).exists == 0
        await connection.logout()
    assert proxy.asked == [f"{HOST}:{mail.info[port]}"]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_greeting_that_comes_with_the_proxys_answer_is_not_lost(mail: MailServer, scheme: str) -> None:
    async with proxy_of(mail, scheme, glued=True) as proxy:
        connection = await log_in(mail, proxy.url(scheme), "imap")
        await connection.logout()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_lets_in_who_has_its_password_and_nobody_else(mail: MailServer, scheme: str) -> None:
    right = "anna:" if scheme == "socks4" else "anna:s%C3%A9cret%40home" if scheme.startswith("http") else "anna:s3cret"
    login = {"socks4": "anna:", "socks5": "anna:s3cret"}.get(scheme, "anna:sécret@home")
    async with proxy_of(mail, scheme, login=login) as proxy:
        await (await log_in(mail, proxy.url(scheme, right))).logout()
        for wrong in ("", "ben:wrong"):
            with pytest.raises(ConnectFailed) as caught:
                await log_in(mail, proxy.url(scheme, wrong))
            assert caught.value.code == "EPROXYAUTH"
            assert f"the proxy 127.0.0.1:{proxy.port} refused the login" in str(caught.value)
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_server_that_the_proxy_does_not_reach_is_named_with_the_proxy(mail: MailServer, scheme: str) -> None:
    async with proxy_of(mail, scheme) as proxy:
        endpoint = Endpoint("127.0.0.1", free_port(), secure=False, proxy=parse_proxy(proxy.url(scheme)))
        with pytest.raises(ConnectFailed, match=rf"proxy 127.0.0.1:{proxy.port} does not reach 127.0.0.1") as caught:
            await open_connection(endpoint, None)
    assert caught.value.code == "EPROXY"


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_dead_proxy_is_named_and_not_the_mail_server(mail: MailServer, scheme: str) -> None:
    port = free_port()
    with pytest.raises(ConnectFailed, match=rf"the proxy 127.0.0.1:{port} can't be reached: Connect") as caught:
        await log_in(mail, f"{scheme}://anna:s3cret@127.0.0.1:{port}")
    assert caught.value.code == "EPROXY"
    assert "s3cret" not in str(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_that_says_nothing_is_named_in_time(mail: MailServer, scheme: str) -> None:
    async with ProxyServer(deaf=True) as proxy:
        with pytest.raises(ConnectFailed, match=rf"the proxy 127.0.0.1:{proxy.port} did not answer") as caught:
            await log_in(mail, proxy.url(scheme), deadline_s=1.5)
    assert caught.value.code == "EPROXY"


@pytest.mark.parametrize("scheme", ["socks5", "socks4", "http"])
async def test_a_mail_server_is_no_proxy(mail: MailServer, scheme: str) -> None:
    with pytest.raises(ConnectFailed, match=r"the proxy 127\.0\.0\.1:") as caught:
        await log_in(mail, f"{scheme}://127.0.0.1:{mail.info['imap']}", deadline_s=3.0)
    assert caught.value.code == "EPROXY"


async def test_nothing_is_left_of_a_connection_through_a_proxy_with_tls(mail: MailServer) -> None:
    async with proxy_of(mail, "https") as proxy:
        connection = await log_in(mail, proxy.url("https"))
        assert len(tunnel._bridges) == 1
        connection.abort()
        async with asyncio.timeout(5.0):
            await asyncio.gather(*tunnel._bridges)


async def test_an_unknown_proxy_is_named(mail: MailServer) -> None:
    with pytest.raises(ConnectFailed, match=r"the proxy proxy\.invalid:1080 is not known") as caught:
        await log_in(mail, "socks5://proxy.invalid")
    assert caught.value.code == "EPROXY"


async def test_neither_a_proxy_nor_a_server_behind_one_may_be_a_metadata_service(mail: MailServer) -> None:
    with pytest.raises(ConnectFailed, match="off limits") as caught:
        await log_in(mail, "socks5://169.254.169.254")
    assert caught.value.code == "EACCES"
    async with proxy_of(mail, "socks5") as proxy:
        endpoint = Endpoint("169.254.169.254", 80, secure=False, proxy=parse_proxy(proxy.url("socks5")))
        with pytest.raises(ConnectFailed, match="off limits"):
            await open_connection(endpoint, None)
    assert proxy.asked == []


async def test_a_wrong_certificate_behind_a_proxy_is_the_servers_fault(mail: MailServer) -> None:
    async with ProxyServer(hosts={"other.invalid": "127.0.0.1"}) as proxy:
        endpoint = Endpoint("other.invalid", mail.info["imaps"], secure=True, proxy=parse_proxy(proxy.url("http")))
        with pytest.raises(ConnectFailed, match="certificate verify failed") as caught:
            await open_connection(endpoint, None)
    assert caught.value.code == "ETLS"


async def test_a_wrong_password_behind_a_proxy_is_a_wrong_password(mail: MailServer) -> None:
    async with proxy_of(mail, "socks5") as proxy:
        url = parse_proxy(proxy.url("socks5"))
        endpoint = Endpoint(HOST, mail.info["imap"], secure=False, tls=TlsOptions(), proxy=url)
        with pytest.raises(AuthenticationFailed):
            await open_connection(endpoint, Credentials("a@example.test", "wrong"))


async def test_an_account_goes_through_its_own_proxy_else_through_the_global_one(system: System) -> None:
    async with (
        ProxyServer(hosts=HOSTS) as common,
        ProxyServer(hosts=HOSTS, login="anna:s3cret") as own,
    ):
        await system.parts.settings_store.write({"proxyEnabled": True, "proxyUrl": common.url("http")})
        await system.parts.settings.load()
        await system.start()
        await system.connected(host=HOST)
        assert (bool(common.asked), bool(own.asked)) == (True, False)
        common.asked.clear()
        account = await system.add(host=HOST, disabled=True)
        assert account.record.imap is not None
        url = own.url("socks5", "anna:s3cret")
        record = account.record.model_copy(
            update={
                "proxy": own.url("socks5", "anna:******"),
                "imap": account.record.imap.model_copy(update={"disabled": False}),
            }
        )
        sealed = system.parts.secrets.seal(url, account=record.account, field="proxy")
        assert await system.parts.accounts.update(account, record, {"proxy": sealed})
        await system.changed(record.account)
        await system.event(account, "accountInitialized")
        assert (bool(common.asked), bool(own.asked)) == (False, True)
        await system.parts.settings_store.write({"proxyEnabled": None, "proxyUrl": None})


async def test_a_proxy_is_found_at_whichever_of_its_addresses_answers(mail: MailServer) -> None:
    """`localhost` is ::1, too, on most machines, where this proxy does not listen."""
    async with proxy_of(mail, "socks5") as proxy:
        await (await log_in(mail, f"socks5://localhost:{proxy.port}")).logout()
    assert len(proxy.asked) == 1


async def test_a_proxy_whose_login_can_not_be_read_is_an_error_of_the_account(system: System) -> None:
    await system.start()
    account = await system.add(disabled=True)
    assert account.record.imap is not None
    imap = account.record.imap.model_copy(update={"disabled": False})
    record = account.record.model_copy(update={"proxy": "socks5://anna:******@proxy.test", "imap": imap})
    elsewhere = system.parts.secrets.seal("socks5://anna:s3cret@proxy.test", account="other", field="proxy")
    assert await system.parts.accounts.update(account, record, {"proxy": elsewhere})
    await system.changed(record.account)
    await system.in_state(account, AccountState.CONNECT_ERROR)
    error = (await system.parts.accounts.get(record.account)).last_error
    assert error is not None and error.server_response_code == "SecretUnreadable" and "s3cret" not in error.response
