"""`sync`: everything is looked at again at once, also what no server tells by itself."""

import json
from dataclasses import replace
from typing import Any

import pytest

from postbus.common.commands import Resync
from postbus.imap_sync.operations import OPERATIONS
from tests.integration.imap_sync.syncing import QUICK, System

pytestmark = pytest.mark.anyio

CALM = replace(QUICK, poll_s=600.0, longest_poll_s=600.0)


def flag(client: Any) -> None:
    client.store("1", "+FLAGS", "(\\Flagged)")


async def test_a_sync_on_demand_finds_what_was_changed_in_other_mailboxes(any_system: System) -> None:
    running = await any_system.start(tuning=CALM)
    account = await any_system.connected()
    session = running.worker.runners[account.token].session
    payload = Resync(account="a").model_dump_json(by_alias=True).encode()
    await any_system.imap(account, lambda client: client.append("Sent", "", None, b"Subject: copy\r\n\r\nx\r\n"))
    assert json.loads(await OPERATIONS["sync"](session, payload, 10.0)) == {}
    new = await any_system.event(account, "messageNew")
    assert new.path == "Sent"
    await any_system.imap(account, flag, mailbox="Sent")
    await OPERATIONS["sync"](session, payload, 10.0)
    updated = await any_system.event(account, "messageUpdated")
    assert updated.path == "Sent"
    assert len(any_system.of(account, "messageNew")) == 1
