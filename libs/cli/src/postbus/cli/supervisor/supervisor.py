"""Starts everything in order, keeps it running, and drains it in order."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from postbus.cli.sandbox import accounts
from postbus.cli.sandbox.people import Ports, settle_ports
from postbus.cli.supervisor import plan, work
from postbus.cli.supervisor.bus_users import ADMIN, draw_users
from postbus.cli.supervisor.children import Call, Children, Launch, Program, Running
from postbus.cli.supervisor.data_dir import DataDir
from postbus.cli.supervisor.front import compose_banner, wait_for_api
from postbus.cli.supervisor.nats_server import EmbeddedNats
from postbus.cli.supervisor.plan import Service
from postbus.cli.supervisor.restarts import Restarts
from postbus.cli.supervisor.valkey_server import EmbeddedValkey
from postbus.common.config import Config
from postbus.common.errors import PostbusError, Unavailable

log = structlog.get_logger()

DRAIN_S = 30.0  # of all groups together, then SIGKILL
RESERVE_S = 1.0  # what each later group is sure to get of that
KILL_S = 5.0
BOOT_END_S = 2.0

MAIL_CALL = "postbus.cli.sandbox.server:run"  # by name: it is loaded in its own process only
FIRST_LOADED = ("postbus.common.service", "postbus.cli.supervisor.prepare")

Launcher = Callable[[], Launch]
Ready = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Supervisor:
    """One instance of Postbus. `prepared` are settings to write at start, `sandbox` also runs a mail server."""

    config: Config  # with an absolute data directory, and the port drawn
    children: Children
    services: Sequence[Service]
    prepared: Mapping[str, Any]
    sandbox: bool = False
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _failure: str | None = None
    _keepers: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    _nats: EmbeddedNats | None = None
    _valkey: EmbeddedValkey | None = None

    async def run(self) -> str | None:
        """Run until a signal says stop, or something can't be kept running: then the reason."""
        self._hear_signals()
        await self.children.open()
        async with self._keepers:
            listening = asyncio.create_task(self._listen())
            boot = asyncio.create_task(self._boot())
            await self._stop.wait()
            boot.cancel()
            await asyncio.wait([boot], timeout=BOOT_END_S)
            await self._drain()
            listening.cancel()
        await self.children.close()
        return self._failure

    def _hear_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` wants it
                loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if not self._stop.is_set():
            log.info("stopping")
        self._stop.set()

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or reason
        self._stop.set()

    async def _listen(self) -> None:
        try:
            await self.children.listen()
        except PostbusError as error:
            for running in self.children.running.values():
                running.ended.set_result(-signal.SIGKILL)
            self.children.running.clear()
            self._fail(error.message)

    async def _boot(self) -> None:
        """Everything from nothing to ready; a failure ends the instance."""
        try:
            self._gate.unlink(missing_ok=True)
            await self._start_servers()
            preparing = await self._start_preparing()
            await self._start_services(plan.FIRST)
            sandbox = await self._start_sandbox() if self.sandbox else None
            if sandbox:
                await accounts.wait_for_server(sandbox)  # its accounts of an earlier start connect at once
            await self._finish_preparing(preparing)
            well = await wait_for_api(self.config)
            await self._start_services({service.name for service in self.services} - plan.FIRST)
            if not well:
                log.warning("the API answers, but not everything is well: /health says what")
            print(compose_banner(self.config), end="", flush=True)
            if sandbox:
                await accounts.register(self.config, sandbox)
                print(accounts.compose_hint(self.config, sandbox), end="", flush=True)
        except (PostbusError, TimeoutError) as error:
            self._fail(str(error) or "a process could not be started in time")
        except Exception as error:
            log.exception("start failed")
            self._fail(f"start failed: {error}")

    async def _start_servers(self) -> None:
        """NATS and Valkey, each unless somebody named one outside, while the zygote loads what all have in common."""
        data = DataDir(self.config.data_dir)
        async with asyncio.TaskGroup() as group:
            if self.config.redis is None:
                self._valkey = EmbeddedValkey(data, data.socket_path("valkey.sock"))
                group.create_task(self._keep(plan.VALKEY, self._launch_valkey, self._valkey.wait_until_ready))
            if self.config.nats is None:
                self._nats = EmbeddedNats(data, draw_users())
                group.create_task(self._keep(plan.NATS, self._launch_nats, self._nats.wait_until_ready))
            await asyncio.sleep(0)
            self.children.preload(list(FIRST_LOADED))

    def _launch_valkey(self) -> Program:
        assert self._valkey is not None
        return Program(self._valkey.command(), str(self._valkey.log))

    def _launch_nats(self) -> Program:
        assert self._nats is not None
        return Program(self._nats.command(), str(self._nats.log))

    async def _start_preparing(self) -> Running:
        """Streams and settings, in a child of their own, while the services load their code."""
        settings = dict(self.prepared)
        return await self.children.start("prepare", Call(work.PREPARE, {"settings": settings, **self._ways(ADMIN)}))

    async def _finish_preparing(self, running: Running) -> None:
        """Let the services go on, which have loaded their code meanwhile."""
        if status := await asyncio.shield(running.ended):
            raise Unavailable(f"streams and settings could not be prepared ({describe_status(status)})")
        self._gate.touch(mode=0o600)

    @property
    def _gate(self) -> Path:
        return DataDir(self.config.data_dir).run / "prepared"

    def _ways(self, user: str) -> dict[str, Any]:
        """How a process of ours reaches the embedded servers, as this user of the bus."""
        changes = {}
        if self._valkey:
            changes["redis"] = self._valkey.url
        if self._nats:
            changes["nats"] = self._nats.url(user)
        return {"changes": changes}

    async def _start_services(self, names: Set[str]) -> None:
        """What several processes run the zygote loads before it forks them; a single one loads its code by itself."""
        shared = plan.shared_modules(self.services, self.config.workers_imap)
        services = [service for service in self.services if service.name in names]
        for process in plan.plan_processes(services, self.config.workers_imap):
            if process.service.module in shared:
                shared.remove(process.service.module)
                self.children.preload([process.service.module])
            await self._keep(process.key, partial(self._launch_service, process.service))

    def _launch_service(self, service: Service) -> Call:
        arguments = {"service": service.name, "module": service.module, "gate": str(self._gate)}
        return Call(work.RUN, arguments | self._ways(service.name))

    async def _start_sandbox(self) -> Ports:
        ports = settle_ports(self.config.data_dir)
        mail = Call(MAIL_CALL, {"imap_port": ports.imap, "smtp_port": ports.smtp})
        await self._keep(plan.MAIL, lambda: mail)
        return ports

    async def _keep(self, key: str, launcher: Launcher, ready: Ready | None = None) -> None:
        """Start a child and keep it running from then on; returns once it is ready."""
        running = await self.children.start(key, launcher())
        self._keepers.create_task(self._watch(key, launcher, running), name=key)
        if ready:
            await ready()

    async def _watch(self, key: str, launcher: Launcher, running: Running) -> None:
        """Start a child again whenever it ends, later each time, until we stop or it ends too often."""
        restarts = Restarts()
        while True:
            status = await running.ended
            if self._stop.is_set():
                return
            delay = restarts.delay_after_death(time.monotonic())
            if delay is None:
                self._fail(f"{key} ended again and again ({describe_status(status)}){self._where_to_look(key)}")
                return
            log.warning("process ended", process=key, how=describe_status(status), restart_in_s=delay)
            if await self._stopped_within(delay):
                return
            try:
                running = await self.children.start(key, launcher())
            except TimeoutError:
                self._fail(f"{key} could not be started again")
                return

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    def _where_to_look(self, key: str) -> str:
        server = {plan.NATS: self._nats, plan.VALKEY: self._valkey}.get(key)
        return f"; see {server.log}" if server else ""

    async def _drain(self) -> None:
        """SIGTERM group by group, SIGKILL for what does not end in time."""
        until = time.monotonic() + DRAIN_S
        for position, group in enumerate(plan.DRAIN_ORDER):
            later = len(plan.DRAIN_ORDER) - position - 1
            await self._end_group(group, max(until - time.monotonic() - later * RESERVE_S, RESERVE_S))

    async def _end_group(self, group: tuple[str, ...], limit_s: float) -> None:
        for number, patience_s in ((signal.SIGTERM, limit_s), (signal.SIGKILL, KILL_S)):
            ending = {key: child for key, child in self.children.running.items() if plan.group_of(key) in group}
            if not ending:
                return
            if number is signal.SIGKILL:
                log.warning("processes did not end in time and are killed", processes=sorted(ending))
            for key in ending:
                self.children.signal(key, number)
            await asyncio.wait([child.ended for child in ending.values()], timeout=patience_s)


def describe_status(status: int) -> str:
    """An exit status in words."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
