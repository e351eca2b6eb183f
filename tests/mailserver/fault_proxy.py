"""Ports in front of other ports, with faults that a test switches on: slow, cut, silent, reset."""

import asyncio
import logging
import socket
import struct
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from tests.mailserver.net import HOST
from tests.mailserver.strict_imap import FilteredConnection, StrictFilter

MODES = ("ok", "blackhole", "reset", "stall")
READ_SIZE = 65_536
STALL_POLL_S = 0.05
CALL_TIMEOUT_S = 10.0
RATE_STEPS = 20  # pieces a second, where the rate is limited
MAX_LISTED = 100

T = TypeVar("T")
Step = Callable[[bytes], Awaitable[bytes]]


class FaultProxy:
    """One listening port in front of one backend port.

    Settings: `latency_ms`; `rate` (bytes/s to the client); `cut_after` (bytes to the client, then a reset); `mode`:
    `ok`, `blackhole` or `stall` (connections open, no octet passes), `reset` (new connections are reset).
    """

    def __init__(
        self, name: str, port: int, backend: int, *, denied: Iterable[str] = (), source: str | None = None
    ) -> None:
        self.name, self.port, self.backend = name, port, backend
        self.settings: dict[str, Any] = {}
        self.reset_settings()
        self._source = (source, 0) if source else None
        denied = list(denied)
        self._strict = StrictFilter(denied) if denied else None
        self._writers: set[StreamWriter] = set()
        self._total = 0

    def reset_settings(self) -> None:
        """No faults."""
        self.settings = {"mode": "ok", "latency_ms": 0, "rate": 0, "cut_after": 0}

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._on_connection, HOST, self.port, backlog=4096)

    def info(self) -> dict[str, Any]:
        """What `GET /proxy` tells."""
        tried = self._strict.tried[-MAX_LISTED:] if self._strict else []
        counts = {"open": len(self._writers) // 2, "total": self._total}
        return {"port": self.port, "backend": self.backend, "denied": tried, **counts, **self.settings}

    def drop_all(self) -> int:
        """Reset every open connection; how many there were."""
        count = len(self._writers) // 2
        for writer in list(self._writers):
            _reset(writer)
        return count

    async def _on_connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._total += 1
        if self.settings["mode"] == "reset":
            return _reset(writer)
        try:
            backend = await asyncio.open_connection(HOST, self.backend, local_addr=self._source)
        except OSError:
            return _reset(writer)
        ours = {writer, backend[1]}
        self._writers |= ours
        pumps = {asyncio.create_task(pump) for pump in self._pumps(reader, writer, *backend)}
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(pumps, timeout=1)
        finally:
            for task in pumps:
                task.cancel()
            self._writers -= ours
            for each in ours:
                each.close()
        return None

    def _pumps(
        self, client_in: StreamReader, client_out: StreamWriter, server_in: StreamReader, server_out: StreamWriter
    ) -> Iterable[Coroutine[None, None, None]]:
        filtered = FilteredConnection(self._strict) if self._strict else None

        async def upward(data: bytes) -> bytes:
            if filtered is None:
                return data
            passed, answer = filtered.from_client(data)
            client_out.write(answer)
            return passed

        async def downward(data: bytes) -> bytes:
            return data if filtered is None else filtered.from_server(data)

        yield self._pump(client_in, server_out, upward, self._send_plainly)
        down = _Downward(self.settings_of, client_out, server_out)
        yield self._pump(server_in, client_out, downward, down.send)

    def settings_of(self) -> dict[str, Any]:
        """The settings as they are now."""
        return self.settings

    async def _pump(
        self,
        reader: StreamReader,
        writer: StreamWriter,
        change: Step,
        send: Callable[[StreamWriter, bytes], Awaitable[bool]],
    ) -> None:
        """Carry octets one way until either side ends or a fault ends both."""
        with suppress(OSError):
            while data := await reader.read(READ_SIZE):
                while self.settings["mode"] in ("blackhole", "stall"):
                    await asyncio.sleep(STALL_POLL_S)
                if self.settings["latency_ms"]:
                    await asyncio.sleep(self.settings["latency_ms"] / 1000)
                data = await change(data)
                if data and not await send(writer, data):
                    return
        with suppress(OSError, RuntimeError):
            if writer.can_write_eof():
                writer.write_eof()

    async def _send_plainly(self, writer: StreamWriter, data: bytes) -> bool:
        writer.write(data)
        await writer.drain()
        return True


class _Downward:
    """The way to the client, where rate and cut apply."""

    def __init__(self, settings: Callable[[], dict[str, Any]], client: StreamWriter, server: StreamWriter) -> None:
        self._settings = settings
        self._ends = (client, server)
        self._sent = 0

    async def send(self, writer: StreamWriter, data: bytes) -> bool:
        """Send as fast as allowed; False when this was the cut."""
        cut, rate = self._settings()["cut_after"], self._settings()["rate"]
        if cut and self._sent + len(data) >= cut:
            writer.write(data[: max(0, cut - self._sent)])
            await writer.drain()
            for end in self._ends:
                _reset(end)
            return False
        step = max(1, rate // RATE_STEPS) if rate else len(data)
        for start in range(0, len(data), step):
            writer.write(data[start : start + step])
            await writer.drain()
            await asyncio.sleep(step / rate if rate else 0)
        self._sent += len(data)
        return True


class ProxyThread(threading.Thread):
    """The event loop of all proxies of an instance."""

    def __init__(self, proxies: Iterable[FaultProxy]) -> None:
        super().__init__(daemon=True)
        self.proxies = {proxy.name: proxy for proxy in proxies}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._error: OSError | None = None

    def begin(self) -> None:
        """Start and return when all listen; OSError when a port is taken."""
        self.start()
        self._ready.wait(CALL_TIMEOUT_S)
        if self._error:
            raise self._error

    def run(self) -> None:
        """Serve until `end`."""
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # pending tasks at the end
        asyncio.set_event_loop(self._loop)
        self._loop.create_task(self._listen())
        self._loop.run_forever()

    def call(self, action: Callable[[], T]) -> T:
        """Run something in the loop and return its result."""

        async def in_loop() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(in_loop(), self._loop).result(CALL_TIMEOUT_S)

    def end(self) -> None:
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _listen(self) -> None:
        try:
            for proxy in self.proxies.values():
                await proxy.start()
        except OSError as error:
            self._error = error
        self._ready.set()


def _reset(writer: StreamWriter) -> None:
    """Close with a TCP reset: linger on, for no time."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
