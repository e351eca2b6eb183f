"""Mail servers of different abilities, and a system on each."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.integration.imap_sync.syncing import System, open_system
from tests.mailserver import MailServer
from tests.servers import NatsServer

ABILITIES: dict[str, dict[str, Any]] = {
    "qresync": {},
    "condstore": {"drop_caps": ["QRESYNC"], "strict": True, "mta": "none"},
    "plain": {"drop_caps": ["QRESYNC", "CONDSTORE", "ESEARCH", "LIST-STATUS"], "strict": True, "mta": "none"},
}


@pytest.fixture(scope="session", params=list(ABILITIES))
def any_mail(request: pytest.FixtureRequest) -> Iterator[MailServer]:
    """Dovecot with QRESYNC, with CONDSTORE only, and with neither."""
    if request.param == "qresync":
        yield request.getfixturevalue("mail")
        return
    with MailServer(**ABILITIES[request.param]) as server:
        yield server


@pytest.fixture
async def any_system(nats_server: NatsServer, redis_url: str, any_mail: MailServer) -> AsyncIterator[System]:
    """Everything but the worker, which a test starts."""
    async with open_system(nats_server.url, redis_url, any_mail) as system:
        yield system


@pytest.fixture
async def system(nats_server: NatsServer, redis_url: str, mail: MailServer) -> AsyncIterator[System]:
    """The same with the best server."""
    async with open_system(nats_server.url, redis_url, mail) as made:
        yield made
