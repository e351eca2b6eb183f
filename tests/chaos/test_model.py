"""The sync can not lie: whatever happens, the events tell exactly what the server has, each thing once.

A replica made of the log alone is compared with the server at quiet points: the index is what IMAP says, nothing waits
in the outbox, and every event of the log was read.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from postbus.common.accounts import Account, AccountState
from postbus.common.store import keys
from postbus.imap_sync.protocol.utf7 import decode_utf7
from postbus.imap_sync.state.store import IndexLost, SyncStore
from tests.chaos.disturbing import Disturber
from tests.chaos.replica import Replica, View, message_ids, server_view
from tests.chaos.workers import Workers
from tests.integration.imap_sync.syncing import System, open_system
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio

ABILITIES: dict[str, dict[str, Any]] = {
    "qresync": {},
    "condstore": {"drop_caps": ["QRESYNC"], "strict": True},
    "plain": {"drop_caps": ["QRESYNC", "CONDSTORE", "ESEARCH", "LIST-STATUS"], "strict": True},
}
PATIENCE_S = 60.0
BETWEEN_CHECKS = 40  # steps


@pytest.fixture(params=list(ABILITIES))
def own_mail(request: pytest.FixtureRequest) -> Iterator[MailServer]:
    """A mail server of the test's own, to restart: with QRESYNC, with CONDSTORE only, with neither."""
    with MailServer(mta="none", **ABILITIES[request.param]) as server:
        yield server


@pytest.fixture
async def own_system(fresh_nats: NatsServer, redis_url: str, own_mail: MailServer) -> AsyncIterator[System]:
    """With a log that holds nothing else."""
    async with open_system(fresh_nats.url, redis_url, own_mail) as system:
        yield system


@dataclass
class Model:
    """One account, the replica of its events, and what the server says."""

    system: System
    account: Account
    replica: Replica = field(default_factory=Replica)
    read: int = 0

    async def check(self, disturber: Disturber) -> None:
        """Wait for a quiet point; there the replica has to equal the server."""
        view: View = {}

        async def quiet() -> bool:
            nonlocal view
            view = await asyncio.to_thread(self._view, disturber)
            return await self._index() == view and await self._all_is_read()

        end = time.monotonic() + PATIENCE_S
        while not await quiet():
            assert time.monotonic() < end, f"never quiet: {_difference(await self._index() or {}, view)}"
            await asyncio.sleep(0.1)
        for event in self.system.events[self.read :]:
            self.replica.apply(event)
        self.read = len(self.system.events)
        await asyncio.to_thread(self._settle, disturber, view)

    def _settle(self, disturber: Disturber, view: View) -> None:
        silent = self.replica.silent(view)
        for path, messages in silent.items():
            found = message_ids(disturber.client, _raw(disturber, path), list(messages))
            lost = {uid: name for uid, name in found.items() if name not in self.replica.announced}
            assert not lost, f"never announced, in {path}: {lost}"
        self.replica.learn(silent)
        assert self.replica.mailboxes == view, _difference(self.replica.mailboxes, view)
        assert not self.system.repeated()

    def _view(self, disturber: Disturber) -> View:
        return {decode_utf7(name.encode()): rows for name, rows in server_view(disturber.client).items()}

    async def _index(self) -> View | None:
        store, token = SyncStore(self.system.parts.redis), self.account.token
        view: View = {}
        for row in await self.system.parts.accounts.mailboxes(token):
            if not row.synced or row.late:
                return None
            try:
                index = await store.index(token, row.number, None) if row.messages else None
            except IndexLost:
                return None
            view[row.path] = {uid: frozenset(index.get(uid) or ()) for uid in index.uids()} if index else {}
        return view

    async def _all_is_read(self) -> bool:
        redis, js = self.system.parts.redis, self.system.parts.bus.js
        if await redis.llen(keys.outbox(self.account.token)):
            return False
        return (await js.stream_info("EVENTS")).state.messages == len(self.system.events)


def _raw(disturber: Disturber, path: str) -> str:
    return next(name for name in server_view(disturber.client) if decode_utf7(name.encode()) == path)


def _difference(ours: View, theirs: View) -> dict[str, Any]:
    paths = ours.keys() | theirs.keys()
    return {
        path: {
            uid: (ours.get(path, {}).get(uid), theirs.get(path, {}).get(uid))
            for uid in ours.get(path, {}).keys() | theirs.get(path, {}).keys()
            if ours.get(path, {}).get(uid) != theirs.get(path, {}).get(uid)
        }
        for path in paths
        if ours.get(path) != theirs.get(path)
    }


@pytest.mark.parametrize(
    ("steps", "seed"),
    [(40, 1), *(pytest.param(2_000, seed, marks=pytest.mark.slow) for seed in (2, 3))],
    ids=["reduced", "whole", "whole again"],
)
async def test_events_rebuild_exactly_what_the_server_has(own_system: System, steps: int, seed: int) -> None:
    system, draw = own_system, random.Random(seed)
    account = await system.add(user=f"model{seed}@example.test", port=system.mail.proxy["imap"], resync_delay=1)
    with Workers(system.config.nats_or_default, system.config.redis_or_default) as workers:
        workers.start("w0")
        await system.in_state(account, AccountState.CONNECTED)
        model = Model(system, account)
        disturber = Disturber(system.mail, f"model{seed}@example.test", "imap", workers, draw)
        try:
            for number in range(1, steps + 1):
                await asyncio.to_thread(disturber.step)
                if number % BETWEEN_CHECKS == 0:
                    await model.check(disturber)
            await asyncio.to_thread(disturber.kill_worker)  # once at least
            await model.check(disturber)
        finally:
            print(f"seed {seed}, {sum(disturber.done.values())} steps: {dict(disturber.done)}")
            disturber.close()
    assert [event.event for event in system.events].count("accountInitialized") == 1
