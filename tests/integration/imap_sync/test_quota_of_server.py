"""`quota` of a server that has limits, and of one that has none."""

import json

import pytest

from postbus.common.commands import GetQuota
from postbus.imap_sync.operations import OPERATIONS
from tests.integration.imap_sync.syncing import System, open_system
from tests.mailserver import MailServer

pytestmark = pytest.mark.anyio

PAYLOAD = GetQuota(account="a").model_dump_json(by_alias=True).encode()


async def test_a_server_without_limits_has_no_quota(system: System) -> None:
    running = await system.start()
    account = await system.connected()
    assert await OPERATIONS["quota"](running.worker.runners[account.token].session, PAYLOAD, 10.0) == b"false"


async def test_a_server_with_limits_tells_them_in_bytes(nats_url: str, redis_url: str) -> None:
    with MailServer(quota="1M", mta="none") as mail:
        async with open_system(nats_url, redis_url, mail) as system:
            running = await system.start()
            account = await system.connected()
            answer = await OPERATIONS["quota"](running.worker.runners[account.token].session, PAYLOAD, 10.0)
    assert json.loads(answer) == {"usage": 0, "limit": 1024 * 1024, "status": "0%"}
