"""Fixtures for all tests: real servers, one set per test process, and the event loop of async tests."""

import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from postbus.common.wait_for import install_wait_for
from tests.mailserver import MailServer
from tests.servers import AuthServer, BaoServer, NatsServer, ValkeyServer, WebhookSink
from tests.servers import free_port as find_free_port

install_wait_for()  # as every service does

DOVECOT_PATHS = "/usr/sbin:/usr/local/sbin"  # often not in PATH


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--uvloop", action="store_true", help="run async tests on uvloop, as the services do")


@pytest.fixture(scope="session")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Async tests run on asyncio."""
    return "asyncio", {"use_uvloop": request.config.getoption("--uvloop")}


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    return find_free_port()


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """One NATS for all tests of this process; for tests that keep to subjects and streams of their own."""
    with NatsServer() as server:
        yield server


@pytest.fixture
def fresh_nats() -> Iterator[NatsServer]:
    """A NATS of the test's own, to kill and restart."""
    with NatsServer() as server:
        yield server


@pytest.fixture
def nats_url(fresh_nats: NatsServer) -> str:
    """URL of a NATS without any streams."""
    return fresh_nats.url


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """One Valkey for all tests of this process."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def fresh_valkey() -> Iterator[ValkeyServer]:
    """A Valkey of the test's own, to kill and restart: every write is on disk."""
    with ValkeyServer(appendonly=True) as server:
        yield server


@pytest.fixture
def redis_url(valkey_server: ValkeyServer) -> str:
    """URL of a Valkey without any keys."""
    valkey_server.flush()
    return valkey_server.url


@pytest.fixture(scope="session")
def bao_server() -> Iterator[BaoServer]:
    """One OpenBao for all tests of this process; `secret/` keeps what earlier tests wrote."""
    with BaoServer() as server:
        yield server


@pytest.fixture(scope="session")
def mail() -> Iterator[MailServer]:
    """Dovecot and Postfix. Any address is a user with the password `pass`: take an address of your own per test."""
    if not (shutil.which("dovecot") or shutil.which("dovecot", path=DOVECOT_PATHS)):
        pytest.fail("Dovecot is missing. ./dev test installs it (tests/mailserver/install.sh, asks for sudo).")
    with MailServer() as server:
        yield server


@pytest.fixture
async def webhook_sink() -> AsyncIterator[WebhookSink]:
    """A receiver of webhooks in the test's event loop."""
    async with WebhookSink() as sink:
        yield sink


@pytest.fixture
async def auth_server() -> AsyncIterator[AuthServer]:
    """A credential server in the test's event loop."""
    async with AuthServer() as server:
        yield server
