"""Deliveries through real proxies to a real Postfix that only the proxy is able to find by its name."""

import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from postbus.common import tunnel
from postbus.common.accounts import Account
from postbus.common.config_values import LocalAddress
from postbus.common.network import seal_asked_proxy
from postbus.sender import tls
from tests.integration.sender.conftest import Bench
from tests.mailserver import MailServer
from tests.servers import free_port
from tests.servers.proxy import ProxyServer

pytestmark = pytest.mark.anyio

HOST = "smtp.mail.test"  # in the server's certificate, and nowhere in DNS
HOSTS = {HOST: "127.0.0.1"}
CHECKED = {"reject_unauthorized": True}


@pytest.fixture(autouse=True)
def trusted(mail: MailServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trust the authority that signed the server's certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", mail.info["tls"]["ca"])
    tls._context.cache_clear()
    tunnel._tls.cache_clear()
    yield
    tls._context.cache_clear()
    tunnel._tls.cache_clear()


async def proxied(bench: Bench, name: str, url: str, **smtp: Any) -> Account:
    account = await bench.account(name, **{"host": HOST, "tls": CHECKED, **smtp})
    record = account.record.model_copy(update={"proxy": "socks5://masked"})
    sealed = bench.parts.secrets.seal(url, account=name, field="proxy")
    assert await bench.parts.accounts.update(account, record, {"proxy": sealed})
    return await bench.parts.accounts.get(name)


@pytest.mark.parametrize("scheme", ["socks5", "socks4", "http", "https"])
@pytest.mark.parametrize("port", ["submission", "submissions"])
async def test_a_message_goes_through_the_proxy_of_its_account(bench: Bench, scheme: str, port: str) -> None:
    """TLS is with the mail server: its certificate is checked against its own name, which only the proxy resolves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if scheme == "https" else None
    if context is not None:
        context.load_cert_chain(bench.mail.info["tls"]["cert"], bench.mail.info["tls"]["key"])
    login = "anna:" if scheme == "socks4" else "anna:s3cret"
    async with ProxyServer(login=login, hosts=HOSTS, glued=port == "submission", tls=context) as proxy:
        name = f"anna-{scheme}-{port}"
        number = bench.mail.info[port]
        anna = await proxied(bench, name, proxy.url(scheme, login), port=number, secure=port == "submissions")
        await bench.start()
        sent = await bench.submit(anna, f"bob-{name}@example.test")
        routing = (await bench.event(sent, "messageSent")).data.network_routing
        assert routing.proxy == proxy.url(scheme)
        await bench.received(f"bob-{name}@example.test", sent)
        await bench.idle()
    assert proxy.asked == [f"{HOST}:{number}"]
    status = (await bench.parts.accounts.get(name)).smtp_status
    assert status is not None and status.network_routing is not None
    assert status.network_routing["proxy"] == proxy.url(scheme)


@pytest.mark.parametrize("scheme", ["socks5", "http"])
async def test_a_proxy_that_refuses_the_login_is_told_and_the_message_waits(bench: Bench, scheme: str) -> None:
    async with ProxyServer(login="anna:s3cret", hosts=HOSTS) as proxy:
        anna = await proxied(bench, f"anna-wrong-{scheme}", proxy.url(scheme, "anna:wr0ng"))
        await bench.start()
        sent = await bench.submit(anna, f"bob-wrong-{scheme}@example.test")
        error = (await bench.event(sent, "messageDeliveryError")).data
        assert error.error_code == "EPROXYAUTH"
        assert error.error == f"the proxy 127.0.0.1:{proxy.port} refused the login"
        assert error.job.next_attempt and error.network_routing.proxy == proxy.url(scheme)
        proxy.login = "anna:wr0ng"
        await bench.event(sent, "messageSent")


async def test_a_dead_proxy_is_named_and_not_the_mail_server(bench: Bench) -> None:
    port = free_port()
    anna = await proxied(bench, "anna-dead", f"socks5://anna:s3cret@127.0.0.1:{port}")
    await bench.start()
    sent = await bench.submit(anna, "bob-dead@example.test", attempts_limit=1)
    error = (await bench.event(sent, "messageDeliveryError")).data
    assert error.error_code == "EPROXY"
    assert error.error.startswith(f"the proxy 127.0.0.1:{port} can't be reached")
    assert not any(secret in str(event.model_dump()) for event in bench.events for secret in ("s3cret", "anna:"))


async def test_an_account_without_a_proxy_goes_through_the_global_one(bench: Bench) -> None:
    async with ProxyServer(hosts=HOSTS) as proxy:
        await bench.parts.settings_store.write({"proxyEnabled": True, "proxyUrl": proxy.url("socks5")})
        await bench.parts.settings.load()
        anna = await bench.account("anna-global", host=HOST)
        await bench.start()
        await bench.event(await bench.submit(anna, "bob-global@example.test"), "messageSent")
    assert proxy.tries == 1


async def test_the_settings_choose_the_address_and_the_name_of_a_delivery(bench: Bench) -> None:
    ways = {"localAddresses": ["127.0.0.8"], "smtpStrategy": "dedicated", "smtpEhloName": "setting.example.test"}
    await bench.parts.settings_store.write(ways)
    await bench.parts.settings.load()
    anna = await bench.account("anna-setting")
    await bench.start()
    sent = await bench.submit(anna, "bob-setting@example.test")
    routing = (await bench.event(sent, "messageSent")).data.network_routing
    assert (routing.local_address, routing.name) == ("127.0.0.8", "setting.example.test")
    (raw,) = await bench.received("bob-setting@example.test", sent)
    assert b"setting.example.test" in raw and b"[127.0.0.8]" in raw


async def test_the_proxy_of_a_message_goes_before_that_of_its_account(bench: Bench) -> None:
    async with ProxyServer(hosts=HOSTS) as own, ProxyServer(hosts=HOSTS, login="anna:s3cret") as asked:
        anna = await proxied(bench, "anna-asked", own.url("socks5"))
        sealed = seal_asked_proxy(bench.parts.secrets, "anna-asked", asked.url("http", "anna:s3cret"))
        await bench.start()
        sent = await bench.submit(anna, "bob-asked@example.test", proxy=sealed)
        routing = (await bench.event(sent, "messageSent")).data.network_routing
        assert routing.proxy == asked.url("http")
    assert (own.tries, asked.tries) == (0, 1)


async def test_a_proxy_that_was_sealed_for_another_account_is_not_used(bench: Bench) -> None:
    anna = await bench.account("anna-moved")
    sealed = seal_asked_proxy(bench.parts.secrets, "ben", "socks5://proxy.test")
    await bench.start()
    sent = await bench.submit(anna, "bob-moved@example.test", proxy=sealed, attempts_limit=1)
    assert (await bench.event(sent, "messageDeliveryError")).data.error_code == "EPROXY"


async def test_the_address_a_message_asks_for_counts_only_where_it_may_be_used(bench: Bench) -> None:
    bench.parts.config.local_addresses[:] = [LocalAddress("127.0.0.6"), LocalAddress("127.0.0.7", "seven.example.test")]
    anna = await bench.account("anna-wish")
    await bench.start()
    sent = await bench.submit(anna, "bob-wish@example.test", local_address="127.0.0.7")
    routing = (await bench.event(sent, "messageSent")).data.network_routing
    assert (routing.local_address, routing.name) == ("127.0.0.7", "seven.example.test")
    sent = await bench.submit(anna, "bob-wish@example.test", local_address="127.0.0.5")
    routing = (await bench.event(sent, "messageSent")).data.network_routing
    assert routing.local_address in ("127.0.0.6", "127.0.0.7")
    assert routing.requested_local_address == "127.0.0.5"
