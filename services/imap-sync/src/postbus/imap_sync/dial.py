"""From host and port to a secured connection with its greeting and capabilities, before anybody logs in."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from postbus.common import egress
from postbus.common.accounts import TlsOptions
from postbus.common.errors import CommandRefused, ConnectFailed, ConnectionLost
from postbus.imap_sync import wire
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.responses import Status, parse_capabilities, parse_untagged
from postbus.imap_sync.tls import client_context
from postbus.imap_sync.wire import Wire

_ATTEMPT_S = 8.0  # for an address, when there is another one to try
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))  # seconds, seconds, probes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how to connect. `secure` is TLS from the first byte; otherwise STARTTLS is used when offered."""

    host: str
    port: int
    secure: bool
    tls: TlsOptions = field(default_factory=TlsOptions)
    ignore_cert_errors: bool = False
    local_address: str | None = None


async def dial(endpoint: Endpoint, on_untagged: Callable[[Response], None]) -> tuple[Wire, frozenset[str]]:
    """Connect, secure, ask for capabilities. ConnectFailed with what went wrong as its code."""
    try:
        connected = await _connect(endpoint, on_untagged)
        try:
            return connected, await _secure(connected, endpoint)
        except BaseException:
            connected.abort("the connection was given up")
            raise
    except OSError as error:
        raise ConnectFailed(_describe(error), code=_code(error)) from error
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


def _options(endpoint: Endpoint) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if endpoint.secure:
        options["ssl"] = client_context(endpoint.tls, ignore_cert_errors=endpoint.ignore_cert_errors)
        options["server_hostname"] = endpoint.host
    if endpoint.local_address:
        options["local_addr"] = (endpoint.local_address, 0)
    return options


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
    """A peer that vanished without a word is noticed within two minutes."""
    options: Sequence[tuple[str, int]] = [(name, value) for name, value in _KEEPALIVE if hasattr(socket, name)]
    sock = connected.socket
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options:
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connected


def _code(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):  # includes SSLCertVerificationError
        return "ETLS"
    if isinstance(error, socket.gaierror):
        return "ENOTFOUND"
    if isinstance(error, egress.EgressRefused):
        return "EACCES"
    if isinstance(error, TimeoutError):
        return "ETIMEDOUT"
    return errno.errorcode.get(error.errno or 0, "ECONNECTION")


def _describe(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    return error.strerror or str(error) or type(error).__name__
