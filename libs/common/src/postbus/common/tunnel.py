"""A TCP connection through a proxy, as a socket on which the mail server speaks first.

SOCKS is spoken by python-socks. CONNECT is spoken here: nothing behind the proxy's answer may be read, as a mail
server's greeting often comes in the same packet.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from ipaddress import ip_address
from typing import Final

from python_socks import ProxyConnectionError, ProxyError, ProxyType
from python_socks.async_.asyncio import Proxy as SocksProxy

from postbus.common import egress
from postbus.common.connect_errors import words_of
from postbus.common.proxies import Proxy, ProxyFailed, ProxyKind
from postbus.common.version import USER_AGENT

MAX_ANSWER_BYTES: Final = 16 * 1024  # of the head of the answer to CONNECT
BRIDGE_BYTES: Final = 64 * 1024  # read at once where TLS to the proxy is taken off

_HTTP: Final = b"HTTP/1."
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: ([^\r\n]{0,200}))?\r?\n")
_AUTH_REQUIRED: Final = 407  # RFC 9110, 15.5.8
_SOCKS4_IDENT: Final = frozenset({0x5C, 0x5D})  # the SOCKS4 memo: identd is missing, or names another user

_bridges: set[asyncio.Task[None]] = set()


async def open_tunnel(proxy: Proxy, host: str, port: int, *, limit_s: float) -> socket.socket:
    """A socket to a mail server through a proxy, within `limit_s`. The proxy resolves the host.

    ProxyFailed; EgressRefused for an address that is off limits, be it the proxy's or the mail server's.
    """
    _refuse_literal(host)
    try:
        async with asyncio.timeout(limit_s):
            return await _through_some_address(proxy, host, port, limit_s)
    except TimeoutError as error:
        raise ProxyFailed(f"the proxy {proxy.name} did not answer in time") from error


def _refuse_literal(host: str) -> None:
    """What we may not connect to nobody connects to for us, as far as we can tell."""
    with suppress(ValueError):
        ip_address(host.partition("%")[0])
        egress.refuse(host)


async def _through_some_address(proxy: Proxy, host: str, port: int, limit_s: float) -> socket.socket:
    try:
        addresses = await egress.resolve(proxy.host, proxy.port)
    except egress.EgressRefused:
        raise
    except OSError as error:
        raise ProxyFailed(f"the proxy {proxy.name} is not known: {words_of(error)}") from error
    except UnicodeError as error:
        raise ProxyFailed(f"the proxy {proxy.name} is not known: its name is none") from error
    for address in addresses[:-1]:
        try:
            async with asyncio.timeout(limit_s / len(addresses)):
                return await _through(proxy, address, host, port)
        except TimeoutError:
            continue
        except ProxyFailed as error:
            if not isinstance(error.__cause__, OSError):
                raise  # it answered
    return await _through(proxy, addresses[-1], host, port)


async def _through(proxy: Proxy, address: str, host: str, port: int) -> socket.socket:
    open_one = _connect if proxy.kind in (ProxyKind.HTTP, ProxyKind.HTTPS) else _socks
    try:
        return await open_one(proxy, address, host, port)
    except (ProxyFailed, TimeoutError):
        raise
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", None) or error.reason or "failed"
        raise ProxyFailed(f"no TLS with the proxy {proxy.name}: {reason}") from error
    except OSError as error:
        raise ProxyFailed(f"the proxy {proxy.name} can't be reached: {words_of(error)}") from error


# SOCKS


async def _socks(proxy: Proxy, address: str, host: str, port: int) -> socket.socket:
    kind = ProxyType.SOCKS4 if proxy.kind is ProxyKind.SOCKS4 else ProxyType.SOCKS5
    client = SocksProxy(kind, address, proxy.port, proxy.user, proxy.password, rdns=True)
    try:
        return await client.connect(host, port, timeout=_FOREVER_S)
    except ProxyConnectionError as error:
        raise error.__cause__ or error from None
    except ProxyError as error:
        raise _socks_failure(proxy, host, port, error) from error
    except ValueError as error:  # a user or host that SOCKS can't carry
        raise ProxyFailed(f"the proxy {proxy.name} can't be asked for {host}:{port}") from error


_FOREVER_S: Final = 86_400.0  # the limit is the caller's


def _socks_failure(proxy: Proxy, host: str, port: int, error: ProxyError) -> ProxyFailed:
    text = str(error)
    if "authentication" in text or (proxy.kind is ProxyKind.SOCKS4 and error.error_code in _SOCKS4_IDENT):
        return _login_refused(proxy)
    if error.error_code is None:
        return ProxyFailed(f"the proxy {proxy.name} does not speak {proxy.kind.value}: {text}")
    return _out_of_reach(proxy, host, port, text)


# CONNECT


async def _connect(proxy: Proxy, address: str, host: str, port: int) -> socket.socket:
    async with _connected(address, proxy.port) as plain:
        if proxy.kind is ProxyKind.HTTP:
            await _ask_plain(plain, proxy, host, port)
            return plain
        reader, writer = await asyncio.open_connection(
            sock=plain, ssl=_tls(), server_hostname=proxy.host, limit=MAX_ANSWER_BYTES
        )
    try:
        writer.write(_request(proxy, host, port))
        await writer.drain()
        _check_answer(await _read_head(lambda: reader.read(1)), proxy, host, port)
        return _bridge(reader, writer)
    except BaseException:
        writer.transport.abort()
        raise


@asynccontextmanager
async def _connected(address: str, port: int) -> AsyncIterator[socket.socket]:
    """A socket that is closed when the block fails."""
    connecting = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connecting, (address, port))
        yield connecting
    except BaseException:
        connecting.close()
        raise


async def _ask_plain(plain: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(plain, _request(proxy, host, port))
    # Byte by byte: the next one after the head belongs to the mail server.
    _check_answer(await _read_head(lambda: loop.sock_recv(plain, 1)), proxy, host, port)


def _request(proxy: Proxy, host: str, port: int) -> bytes:
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ProxyFailed(f"the proxy {proxy.name} can't be asked for {host}:{port}") from error
    target = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", f"User-Agent: {USER_AGENT}"]
    if proxy.user is not None:
        login = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode("ascii")
        lines.append(f"Proxy-Authorization: Basic {login}")
    return "\r\n".join([*lines, "", ""]).encode()


async def _read_head(read: Callable[[], Awaitable[bytes]]) -> bytes:
    """Everything up to the empty line; less where the proxy ends early or talks too much."""
    head = bytearray()
    while len(head) < MAX_ANSWER_BYTES and not head.endswith((b"\r\n\r\n", b"\n\n")):
        byte = await read()
        head += byte
        if not byte or not _HTTP.startswith(head[: len(_HTTP)]):
            break  # a server of another kind would let us wait for the end of its head
    return bytes(head)


def _check_answer(head: bytes, proxy: Proxy, host: str, port: int) -> None:
    """Any 2xx opens the tunnel (RFC 9110, 9.3.6)."""
    status = _STATUS.match(head)
    if status is None:
        raise ProxyFailed(f"the proxy {proxy.name} does not speak {proxy.kind.value}")
    code = int(status[1])
    if code == _AUTH_REQUIRED:
        raise _login_refused(proxy)
    if not 200 <= code <= 299:
        reason = (status[2] or b"").decode("ascii", "replace").strip()
        raise _out_of_reach(proxy, host, port, f"{code} {reason}".strip())
    if not head.endswith((b"\r\n\r\n", b"\n\n")):
        raise ProxyFailed(f"the proxy {proxy.name} does not speak {proxy.kind.value}")


def _bridge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> socket.socket:
    """Our end of a pair of sockets; what goes in at it goes out through TLS to the proxy, and back."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    task = asyncio.create_task(_carry(reader, writer, theirs))
    _bridges.add(task)
    task.add_done_callback(_bridges.discard)
    return ours


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, theirs: socket.socket) -> None:
    """Until one side ends: then the other one hears it, too."""
    back_reader, back_writer = await asyncio.open_connection(sock=theirs)
    ways = [asyncio.create_task(_pump(reader, back_writer)), asyncio.create_task(_pump(back_reader, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        for end in (writer, back_writer):
            end.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(BRIDGE_BYTES):
            writer.write(data)
            await writer.drain()


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _login_refused(proxy: Proxy) -> ProxyFailed:
    return ProxyFailed(f"the proxy {proxy.name} refused the login", code="EPROXYAUTH")


def _out_of_reach(proxy: Proxy, host: str, port: int, reason: str) -> ProxyFailed:
    return ProxyFailed(f"the proxy {proxy.name} does not reach {host}:{port}: {reason}")
