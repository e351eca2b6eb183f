"""The log of an account tells the conversation with its mail server, and never a secret or a word of a message."""

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from postbus.common.accounts import Account, AccountState
from postbus.common.commands import ListMessages, SearchMessages, SearchQuery, UploadMessage
from postbus.common.store import keys
from postbus.common.store.account_logs import read_log
from postbus.imap_sync.operations import OPERATIONS
from tests.integration.imap_sync.syncing import QUICK, System, until, until_true

pytestmark = pytest.mark.anyio


async def with_log(system: System, account: Account, *, on: bool = True) -> None:
    now = await system.parts.accounts.get(account.record.account)
    assert await system.parts.accounts.update(now, now.record.model_copy(update={"logs": on}), {})
    await system.changed(account.record.account)


async def lines_of(system: System, account: Account) -> list[dict[str, Any]]:
    pages = [page async for page in read_log(system.parts.redis, account.token)]
    return [json.loads(line) for page in pages for line in page]


async def operate(system: System, account: Account, operation: str, **fields: Any) -> bytes:
    kinds = {"search": SearchMessages, "upload-message": UploadMessage, "messages": ListMessages}
    session = system.running[-1].worker.runners[account.token].session
    command = kinds[operation](account=account.record.account, **fields)
    return await OPERATIONS[operation](session, command.model_dump_json(by_alias=True).encode(), 10.0)


async def test_a_log_tells_of_connections_commands_passes_and_states(system: System) -> None:
    await system.start()
    account = await system.add()
    await with_log(system, account)
    await system.in_state(account, AccountState.CONNECTED)
    await system.deliver(account)
    await system.event(account, "messageNew")

    async def told() -> bool:
        lines = await lines_of(system, account)
        return any(line.get("command", "").startswith("UID FETCH") for line in lines)

    await until(told, "a fetch is in the log")
    await system.running[-1].stop()
    lines = await lines_of(system, account)
    assert {(line["source"], line["event"]) for line in lines} >= {
        ("imap", "connected"),
        ("imap", "command"),
        ("imap", "closed"),
        ("sync", "mailbox"),
        ("account", "state"),
    }
    login = next(line for line in lines if line.get("command", "").startswith(("LOGIN", "AUTHENTICATE")))
    assert login["status"] == "OK"
    assert login["ms"] >= 0
    assert "text" not in login
    assert {"state": "connected", "before": "syncing"}.items() <= next(
        line for line in lines if line.get("state") == "connected"
    ).items()
    assert len({line["connection"] for line in lines if line["source"] == "imap"}) >= 1


async def test_each_attempt_that_fails_is_told_with_its_reason_and_when_the_next_one_is_due(
    system: System, free_port: int
) -> None:
    await system.start()
    account = await system.add(port=free_port)
    await with_log(system, account)

    async def attempts() -> list[dict[str, Any]]:
        return [line for line in await lines_of(system, account) if line["event"] == "attempt ended"]

    async def told() -> bool:
        return len(await attempts()) >= 2

    await until(told, "more than the first one")
    for line in await attempts():
        assert line["code"] == "ECONNREFUSED"
        assert line["text"]
        assert line["nextAttemptMs"] > 0


@pytest.mark.parametrize("kind", ["password", "token"])
async def test_no_secret_and_no_content_gets_into_a_log(system: System, kind: str) -> None:
    """Password, access token, subject, body, recipients and what is searched for are planted, and looked for."""
    secret = "pass" if kind == "password" else "planted-access-token"
    await system.start()
    account = await system.add(password=secret)
    if kind == "token":
        now = await system.parts.accounts.get(account.record.account)
        sealed = system.parts.secrets.seal(secret, account=now.record.account, field="imap.accessToken")
        assert await system.parts.accounts.update(now, now.record, {"imap.pass": None, "imap.accessToken": sealed})
    await with_log(system, account)
    if kind == "token":
        await system.in_state(account, AccountState.AUTHENTICATION_ERROR)
    else:
        await system.event(account, "accountInitialized")
        raw = (
            b"From: planted-from@x.test\r\nTo: t@x.test\r\nSubject: planted-subject\r\n\r\nplanted-body " + b"x" * 9000
        )
        await operate(system, account, "upload-message", path="INBOX", raw=raw)
        await system.event(account, "messageNew")
        for query in ({"subject": "planted-search"}, {"body": "planted-s\u00fcche"}, {"from": "planted-from"}):
            await operate(system, account, "search", path="INBOX", search=SearchQuery.model_validate(query))
        await operate(system, account, "messages", path="INBOX")
    await system.running[-1].stop()
    text = json.dumps(await lines_of(system, account), ensure_ascii=False)
    assert '"command"' in text
    user = f"{account.record.account}@example.test"
    for planted in (secret, f"\0{user}\0{secret}", f"user={user}\x01auth=Bearer {secret}\x01\x01"):
        assert base64.b64encode(planted.encode()).decode() not in text
    assert "planted" not in text
    assert f'"{secret}"' not in text
    if kind == "password":
        assert "UID SEARCH" in text
        assert "APPEND" in text


async def test_the_setting_switches_logs_on_and_off_while_accounts_run(system: System) -> None:
    await system.start()
    account = await system.connected()
    await system.deliver(account)
    await system.event(account, "messageNew")
    await asyncio.sleep(1.2)
    assert not await system.parts.redis.exists(keys.log(account.token))
    try:
        await system.parts.settings_store.write({"logs": {"all": True, "maxLogLines": 5}})
        await system.parts.settings.load()
        await system.deliver(account, n=3)
        await system.event(account, "messageNew", 4)

        async def written() -> bool:
            return bool(await lines_of(system, account))

        await until(written, "lines are there")
    finally:
        await system.parts.settings_store.write({"logs": None})
        await system.parts.settings.load()
    await system.running[-1].stop()
    assert len(await lines_of(system, account)) <= 5


async def test_open_connections_are_counted(system: System) -> None:
    running = await system.start(tuning=replace(QUICK, warm_s=0.2))
    account = await system.connected()
    session = running.worker.runners[account.token].session
    assert session.connections == 1
    async with session.command("INBOX", deadline_s=5.0):
        assert session.connections == 2
    await until_true(lambda: session.connections == 1, "the warm one is closed")
    await running.stop()
    assert session.connections == 0
