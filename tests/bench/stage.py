"""What every case works with: a mail server, a receiver of webhooks, a fresh Postbus, and what it costs."""

import asyncio
import json
import os
import statistics
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from tests.e2e.running import RunningPostbus, process_tree
from tests.mailserver import MailServer
from tests.servers import WebhookSink

TICKS = os.sysconf("SC_CLK_TCK")
CONNECT_TIMEOUT_S = 600.0


@dataclass(slots=True)
class Stage:
    """An async context manager; `quick` asks cases for small numbers."""

    quick: bool
    mail: MailServer = field(init=False)
    sink: WebhookSink = field(init=False)
    postbus: RunningPostbus = field(init=False)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        self.mail = self._stack.enter_context(MailServer(max_userip=1000, max_connections=4000))
        self.sink = await self._stack.enter_async_context(WebhookSink())
        settings = json.dumps({"webhooks": self.sink.url})
        self.postbus = self._stack.enter_context(
            RunningPostbus(env={"EENGINE_SETTINGS": settings, "EENGINE_WORKERS": "4"})
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def add_accounts(self, names: Iterable[str]) -> list[str]:
        """Register `name@bench.test` under each name and wait until all are connected."""
        accounts = list(names)
        for name in accounts:
            await asyncio.to_thread(self.postbus.add_account, name, f"{name}@bench.test", self.mail)
        for name in accounts:
            await asyncio.to_thread(self.postbus.wait_connected, name, CONNECT_TIMEOUT_S)
        return accounts

    @asynccontextmanager
    async def cost(self) -> AsyncIterator[dict[str, Any]]:
        """Fills the dict with what the block took: CPU seconds, commands of the store (those in scripts, too)."""
        figures: dict[str, Any] = {}
        before, commands = self._cpu(), self._store_commands()
        yield figures
        figures["cpu_s"] = round(self._cpu() - before, 2)
        figures["store_commands"] = self._store_commands() - commands

    def memory_mb(self) -> float:
        """Proportional set size of all processes of Postbus."""
        return round(sum(_pss_kb(pid) for pid in process_tree(self.postbus.pid)) / 1024, 1)

    def _cpu(self) -> float:
        return sum(map(_cpu_ticks, process_tree(self.postbus.pid))) / TICKS

    def _store_commands(self) -> int:
        config = (self.postbus.data / "run" / "valkey.conf").read_text()
        socket = next(line.split()[1].strip('"') for line in config.splitlines() if line.startswith("unixsocket "))
        return int(redis.Redis(unix_socket_path=socket).info("stats")["total_commands_processed"])


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median and tail of durations, in milliseconds."""
    ordered = sorted(seconds)
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    figures = {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in at.items()}
    return {f"{name}_ms": round(value * 1000, 1) for name, value in {**figures, "max": ordered[-1]}.items()} | {
        "mean_ms": round(statistics.fmean(ordered) * 1000, 1)
    }


def _cpu_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))


def _pss_kb(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
