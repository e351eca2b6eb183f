"""The service: listens, serves, and on its way out finishes what is running."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog
import uvicorn

from postbus.api.app import create_server_app
from postbus.api.head_limits import HeadLimits
from postbus.api.health import open_to_all, open_warning
from postbus.common.config import Config
from postbus.common.service import Parts, run_service

log = structlog.get_logger()

BACKLOG = 2048
KEEP_ALIVE_S = 75  # longer than proxies keep theirs, so that they close first
DRAIN_S = 8


class _Server(uvicorn.Server):
    """The server without signal handlers of its own: the service has them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(parts: Parts) -> None:
    """Serve HTTP until cancelled; then no new connections, and some seconds for requests that are running."""
    sockets = await listen(parts.config)
    server = _Server(_server_config(parts))
    if open_to_all(parts.config):
        log.warning("api open to all", reason=open_warning(parts.config))
    log.info("api listening", url=_url_of(sockets[0]))
    serving = asyncio.create_task(server.serve(sockets=sockets))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S + 2):
                await asyncio.shield(serving)
        raise
    finally:
        serving.cancel()
        for one in sockets:
            one.close()


async def listen(config: Config) -> list[socket.socket]:
    """Sockets on every address of the host; OSError when one of them is taken."""
    found = await asyncio.get_running_loop().getaddrinfo(
        config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            listener = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.setblocking(False)
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def main() -> None:
    """Run the service until SIGTERM or SIGINT."""
    run_service("api", serve)


def _server_config(parts: Parts) -> uvicorn.Config:
    return uvicorn.Config(
        create_server_app(parts),
        http=HeadLimits,
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
