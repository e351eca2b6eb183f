"""What the HTTP servers of tests share: an aiohttp application on a free port, inside the test's own event loop."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Generic, Self, TypeVar

from aiohttp import web

from tests.servers.ports import HOST

MAX_BODY = 64 * 1024 * 1024  # bytes
WAIT_TIMEOUT_S = 10.0

Recorded = TypeVar("Recorded")


class RecordingHttpServer(Generic[Recorded]):
    """Answers every request through `answer` and lets tests wait for what was recorded.

    An async context manager. `stop` and `start` may follow each other on the same port, to play a receiver
    that is away for a while.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Recorded] = []
        self.port = 0
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._changed = asyncio.Condition()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Return the answer to one request."""
        raise NotImplementedError

    @property
    def base_url(self) -> str:
        """URL of the root, without a slash at its end."""
        return f"{'https' if self._tls else 'http'}://{HOST}:{self.port}"

    async def start(self) -> Self:
        """Listen, on the port of the last time if there was one."""
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_route("*", "/{path:.*}", self.answer)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port, ssl_context=self._tls, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        """Close every connection and refuse new ones."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def record(self, entry: Recorded) -> None:
        """Note a request and wake whoever waits for it."""
        async with self._changed:
            self.requests.append(entry)
            self._changed.notify_all()

    async def wait(
        self, condition: Callable[[Sequence[Recorded]], object], timeout: float = WAIT_TIMEOUT_S
    ) -> list[Recorded]:
        """Wait until the condition holds for what was recorded; return that. AssertionError after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: condition(self.requests))
        except TimeoutError as error:
            recorded = "\n".join(f"  {entry}" for entry in self.requests[-10:])
            raise AssertionError(f"{len(self.requests)} requests within {timeout} s, the last:\n{recorded}") from error
        return list(self.requests)

    async def wait_count(self, count: int, timeout: float = WAIT_TIMEOUT_S) -> list[Recorded]:
        """Wait until at least `count` requests came in; return all of them."""
        return await self.wait(lambda requests: len(requests) >= count, timeout)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
