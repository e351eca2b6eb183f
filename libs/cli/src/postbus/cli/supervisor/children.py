"""The supervisor's side of the zygote: start, signal, and hear of every end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from dataclasses import dataclass, field
from typing import Any

from postbus.cli.supervisor.zygote import fork_zygote
from postbus.common.config import Config
from postbus.common.errors import Unavailable

MAX_LINE = 65_536
START_TIMEOUT_S = 30.0  # the zygote may be loading code


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run, with its output in a file."""

    argv: list[str]
    log: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function to run in a forked process: `module:function`, called with the configuration and these arguments."""

    call: str
    arguments: dict[str, Any]


Launch = Program | Call


@dataclass(slots=True)
class Running:
    """One child. `ended` is its exit status, negative where a signal ended it."""

    pid: int
    ended: asyncio.Future[int]


@dataclass(slots=True)
class Children:
    """All children, by key. Forks the zygote when it is made: in a process without threads or event loop."""

    config: Config
    running: dict[str, Running] = field(default_factory=dict)
    zygote_pid: int = field(init=False)
    _link: socket.socket = field(init=False)
    _reader: asyncio.StreamReader = field(init=False)
    _writer: asyncio.StreamWriter = field(init=False)
    _starting: dict[str, asyncio.Future[Running]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.zygote_pid, self._link = fork_zygote(self.config)

    async def open(self) -> None:
        """Start talking to the zygote: once, in the event loop."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._link, limit=MAX_LINE)

    async def listen(self) -> None:
        """Hear the zygote until cancelled; Unavailable when it is gone, and all children with it."""
        try:
            while line := await self._reader.readline():
                self._on_event(json.loads(line))
        except ConnectionError:
            pass
        raise Unavailable("the process that starts all others ended", code="ZygoteEnded")

    def preload(self, modules: list[str]) -> None:
        """Have the zygote import these, for what it forks from then on."""
        self._tell({"do": "preload", "modules": modules})

    async def start(self, key: str, launch: Launch) -> Running:
        """Start a child and return once it exists; TimeoutError when the zygote does not answer."""
        what: dict[str, Any]
        match launch:
            case Program(argv, log):
                what = {"argv": argv, "log": log}
            case Call(call, arguments):
                what = {"call": call, "arguments": arguments}
        started: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        self._starting[key] = started
        self._tell({"do": "start", "key": key, **what})
        async with asyncio.timeout(START_TIMEOUT_S):
            return await started

    def signal(self, key: str, number: signal.Signals) -> None:
        """Signal a child, if it runs."""
        if key in self.running:
            self._tell({"do": "signal", "key": key, "number": int(number)})

    async def close(self) -> None:
        """End the zygote, and with it whatever still runs."""
        self._writer.close()
        await asyncio.to_thread(os.waitpid, self.zygote_pid, 0)

    def _tell(self, command: dict[str, Any]) -> None:
        self._writer.write(json.dumps(command).encode() + b"\n")

    def _on_event(self, event: dict[str, Any]) -> None:
        match event:
            case {"event": "started", "key": str(key), "pid": int(pid)}:
                running = Running(pid, asyncio.get_running_loop().create_future())
                self.running[key] = running
                starting = self._starting.pop(key)
                if not starting.done():
                    starting.set_result(running)
            case {"event": "ended", "key": str(key), "status": int(status)}:
                running = self.running.pop(key)
                if not running.ended.done():
                    running.ended.set_result(status)
