"""Three workers, many accounts, mail all the time, and somebody kills workers: every arrival is told, each once."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from prometheus_client.parser import text_string_to_metric_families

from postbus.common import commands, ids
from postbus.common.accounts import Account, AccountState
from postbus.common.bus import rpc
from postbus.common.errors import PostbusError
from postbus.common.store import keys
from postbus.common.store.client import as_text
from postbus.imap_sync.worker import PLACEMENT
from tests.chaos.workers import Workers
from tests.integration.imap_sync.syncing import System, open_system
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio

START_S = 120.0
PATIENCE_S = 60.0
CALL_S = 10.0
NOTICED_S = 0.1  # until the bus knows that a process is dead; what it took before nobody answers
ASKED = 20  # accounts of the dead worker, at the same time
FROZEN_S = 4.0  # longer than a lease


@dataclass(frozen=True)
class Form:
    """How much of everything."""

    accounts: int
    kills: int
    gap_s: float  # between kills
    arrivals_per_s: float
    answer_s: float  # after a kill every account answers again


REDUCED = Form(accounts=24, kills=1, gap_s=1.0, arrivals_per_s=20, answer_s=10.0)  # beside other tests
WHOLE = Form(accounts=300, kills=15, gap_s=20.0, arrivals_per_s=10, answer_s=5.0)


@pytest.fixture
def big_mail() -> Iterator[MailServer]:
    """A mail server for hundreds of connections."""
    with MailServer(mta="none", max_connections=2000) as server:
        yield server


@pytest.fixture
async def big_system(fresh_nats: NatsServer, redis_url: str, big_mail: MailServer) -> AsyncIterator[System]:
    """With a log that holds nothing else."""
    async with open_system(fresh_nats.url, redis_url, big_mail) as system:
        yield system


@dataclass
class Arrivals:
    """Mail for all accounts in turn, until it is over: account and Message-ID of each."""

    system: System
    accounts: Sequence[Account]
    per_s: float
    sent: list[tuple[str, str]] = field(default_factory=list)
    over: bool = False

    async def run(self) -> None:
        while not self.over:
            name = self.accounts[len(self.sent) % len(self.accounts)].record.account
            message_id = f"<a{len(self.sent)}@arrivals.test>"
            head = f"From: a@b.test\r\nSubject: {len(self.sent)}\r\nMessage-ID: {message_id}"
            await asyncio.to_thread(
                self.system.mail.deliver, f"{name}@example.test", raw=f"{head}\r\n\r\nx\r\n".encode()
            )
            self.sent.append((name, message_id))
            await asyncio.sleep(1 / self.per_s)


async def owned_by(system: System, worker: str, accounts: Sequence[Account]) -> list[Account]:
    """The accounts whose partitions a worker holds."""
    held = await system.parts.redis.hgetall(keys.placement(PLACEMENT)[1])
    mine = {int(raw) for raw, lease in held.items() if as_text(lease).startswith(f"{worker}|")}
    return [account for account in accounts if ids.partition_of(account.token) in mine]


async def seconds_until_all_answer(system: System, accounts: Sequence[Account]) -> float:
    """How long it takes until each has answered a command, asked all at once and again as long as it fails."""
    started = time.monotonic()
    await asyncio.sleep(NOTICED_S)

    async def ask(account: Account) -> float:
        request = commands.ListMessages(account=account.record.account, path="INBOX")
        while True:
            try:
                await rpc.call(
                    system.parts.bus, commands.owner_subject(account.token, "messages"), request, deadline_s=CALL_S
                )
            except PostbusError:
                assert time.monotonic() - started < PATIENCE_S, f"{account.token} does not answer"
                await asyncio.sleep(0.05)
                continue
            return time.monotonic() - started

    return max(await asyncio.gather(*(ask(account) for account in accounts)))


async def fenced_writes(system: System, workers: int) -> float:
    """How many writes the living workers were refused."""
    inbox = system.parts.bus.nc.new_inbox()
    answers = await system.parts.bus.nc.subscribe(inbox)
    await system.parts.bus.nc.publish(commands.METRICS_WANTED, b"", reply=inbox)
    texts = [(await answers.next_msg(timeout=10)).data.decode() for _ in range(workers)]
    await answers.unsubscribe()
    families = [family for text in texts for family in text_string_to_metric_families(text)]
    return sum(sample.value for family in families for sample in family.samples if sample.name == "fenced_writes_total")


async def freeze_and_thaw(system: System, workers: Workers, accounts: Sequence[Account]) -> None:
    """A worker stands still for longer than its lease, and then goes on as if nothing had happened."""
    name = next(iter(workers.pids))
    theirs = await owned_by(system, name, accounts)
    workers.freeze(name)
    await asyncio.sleep(FROZEN_S)
    workers.thaw(name)
    await seconds_until_all_answer(system, theirs[:ASKED])


@pytest.mark.parametrize("form", [REDUCED, pytest.param(WHOLE, marks=pytest.mark.slow)], ids=["reduced", "whole"])
async def test_killing_one_of_three_workers_again_and_again_loses_and_repeats_nothing(
    big_system: System, form: Form
) -> None:
    system, draw = big_system, random.Random(7)
    accounts = [await system.add(user=f"three{number}@example.test") for number in range(form.accounts)]
    with Workers(system.config.nats_or_default, system.config.redis_or_default, pace="default") as workers:
        for number in range(3):
            workers.start(f"w{number}")
        await _all_connected(system, accounts)
        arrivals = Arrivals(system, accounts, form.arrivals_per_s)
        arriving = asyncio.create_task(arrivals.run())
        waited = []
        for kill in range(form.kills):
            await asyncio.sleep(form.gap_s * draw.uniform(0.8, 1.0))
            name = draw.choice(list(workers.pids))
            orphans = await owned_by(system, name, accounts)
            workers.kill(name)
            waited.append(await seconds_until_all_answer(system, draw.sample(orphans, min(ASKED, len(orphans)))))
            workers.start(f"w{kill + 3}")
        await freeze_and_thaw(system, workers, accounts)
        refused = await fenced_writes(system, 3)
        arrivals.over = True
        await arriving
        await _all_told(system, arrivals)
    figures = ", ".join(f"{seconds:.1f}" for seconds in waited)
    print(f"{len(accounts)} accounts, {len(arrivals.sent)} arrivals, answered after {figures} s, {refused:.0f} refused")
    assert max(waited) <= form.answer_s


async def _all_connected(system: System, accounts: Sequence[Account]) -> None:
    names = [account.record.account for account in accounts]
    end = time.monotonic() + START_S
    while set(await system.parts.accounts.states(names)) != {AccountState.CONNECTED}:
        assert time.monotonic() < end, "not all accounts got connected"
        await asyncio.sleep(0.1)


async def _all_told(system: System, arrivals: Arrivals) -> None:
    """Every arrival has exactly one event, and no event is in the log twice."""
    end = time.monotonic() + PATIENCE_S
    while len(told := _told(system)) < len(arrivals.sent):
        assert time.monotonic() < end, f"never told: {sorted(set(arrivals.sent) - told.keys())[:9]}"
        await asyncio.sleep(0.1)
    assert told == Counter(arrivals.sent)
    assert not system.repeated()


def _told(system: System) -> Counter[tuple[str, str]]:
    return Counter((event.account, event.data.message_id) for event in system.events if event.event == "messageNew")
