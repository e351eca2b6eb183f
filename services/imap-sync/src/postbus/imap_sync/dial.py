"""From host and port to a secured connection with its greeting and capabilities, before anybody logs in."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from postbus.common import egress, tunnel
from postbus.common.accounts import TlsOptions
from postbus.common.connect_errors import code_of, words_of
from postbus.common.errors import CommandRefused, ConnectFailed, ConnectionLost
from postbus.common.proxies import Proxy
from postbus.imap_sync import wire
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.responses import Status, parse_capabilities, parse_untagged
from postbus.imap_sync.tls import client_context
from postbus.imap_sync.wire import Wire

DEADLINE_S = 30.0  # to be logged in
_ATTEMPT_S = 8.0  # for an address, when there is another one to try
_PROXY_SHARE = 0.8  # of the time for all of it: a proxy that hangs is named, not the server behind it
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))  # seconds, seconds, probes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how to connect. `secure` is TLS from the first byte; otherwise STARTTLS is used when offered.

    Through a `proxy` the host is resolved there, and `local_address` does not count.
    """

    host: str
    port: int
    secure: bool
    tls: TlsOptions = field(default_factory=TlsOptions)
    ignore_cert_errors: bool = False
    local_address: str | None = None
    proxy: Proxy | None = None


async def dial(
    endpoint: Endpoint, on_untagged: Callable[[Response], None], *, limit_s: float = DEADLINE_S
) -> tuple[Wire, frozenset[str]]:
    """Connect, secure, ask for capabilities. ConnectFailed with what went wrong as its code.

    `limit_s` is what the caller waits for; only the way through a proxy looks at it.
    """
    try:
        if endpoint.proxy is not None:
            connected = await _connect_through(endpoint.proxy, endpoint, on_untagged, limit_s * _PROXY_SHARE)
        else:
            connected = await _connect(endpoint, on_untagged)
        try:
            return connected, await _secure(connected, endpoint)
        except BaseException:
            connected.abort("the connection was given up")
            raise
    except OSError as error:
        raise ConnectFailed(words_of(error), code=code_of(error)) from error
    except ConnectionLost as error:
        raise ConnectFailed(
            error.message, code="ECONNRESET" if error.code == ConnectionLost.code else error.code
        ) from error
    except CommandRefused as error:
        raise ConnectFailed(error.message, code=error.server_code or error.status) from error


async def ask_capabilities(wire: Wire) -> frozenset[str]:
    """CAPABILITY."""
    found: list[frozenset[str]] = []

    def on_response(pieces: Response) -> bool:
        untagged = parse_untagged(pieces[0])
        if untagged is None or untagged.label != "CAPABILITY":
            return False
        found.append(parse_capabilities(pieces[0][untagged.start :].decode("ascii", "replace")))
        return True

    await wire.run("CAPABILITY", on_response=on_response)
    return found[-1] if found else frozenset()


def capabilities_in(status: Status) -> frozenset[str] | None:
    """The capabilities that a status line brings; None when it brings none."""
    return parse_capabilities(status.argument) if status.code == "CAPABILITY" else None


async def _connect(endpoint: Endpoint, on_untagged: Callable[[Response], None]) -> Wire:
    """Try one address after the other; the last failure counts."""
    options = _options(endpoint)
    addresses = await egress.resolve(endpoint.host, endpoint.port)
    for address in addresses[:-1]:
        try:
            async with asyncio.timeout(_ATTEMPT_S):
                return _kept_alive(await wire.connect(address, endpoint.port, on_untagged=on_untagged, options=options))
        except ssl.SSLError:
            raise
        except OSError:
            continue
    return _kept_alive(await wire.connect(addresses[-1], endpoint.port, on_untagged=on_untagged, options=options))


async def _connect_through(
    proxy: Proxy, endpoint: Endpoint, on_untagged: Callable[[Response], None], limit_s: float
) -> Wire:
    sock = await tunnel.open_tunnel(proxy, endpoint.host, endpoint.port, limit_s=limit_s)
    try:
        _keep_alive(sock)
        options = {**_tls(endpoint), "sock": sock}
        return await wire.connect(endpoint.host, endpoint.port, on_untagged=on_untagged, options=options)
    except BaseException:
        sock.close()
        raise


def _options(endpoint: Endpoint) -> dict[str, Any]:
    local = {"local_addr": (endpoint.local_address, 0)} if endpoint.local_address else {}
    return {**_tls(endpoint), **local}


def _tls(endpoint: Endpoint) -> dict[str, Any]:
    if not endpoint.secure:
        return {}
    context = client_context(endpoint.tls, ignore_cert_errors=endpoint.ignore_cert_errors)
    return {"ssl": context, "server_hostname": endpoint.host}


async def _secure(connected: Wire, endpoint: Endpoint) -> frozenset[str]:
    """BYE is a refusal; STARTTLS when it is offered; the capabilities that count from here on."""
    greeting = connected.greeting
    if greeting.status not in ("OK", "PREAUTH"):
        raise ConnectFailed(greeting.text or "the server refused the connection", code=greeting.code or greeting.status)
    capabilities = capabilities_in(greeting) or await ask_capabilities(connected)
    if not endpoint.secure and "STARTTLS" in capabilities and greeting.status == "OK":
        context = client_context(endpoint.tls, ignore_cert_errors=endpoint.ignore_cert_errors)
        await connected.start_tls(context, endpoint.host)
        capabilities = await ask_capabilities(connected)
    connected.know(capabilities)
    return capabilities


def _kept_alive(connected: Wire) -> Wire:
    if (sock := connected.socket) is not None:
        _keep_alive(sock)
    return connected


def _keep_alive(sock: Any) -> None:
    """A peer that vanished without a word is noticed within two minutes. Not for a pair of sockets in this process."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
