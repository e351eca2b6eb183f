"""The TCP connection to an SMTP server: to an address that was checked, not to a name that may mean another by then."""

from __future__ import annotations

import asyncio
import socket

from postbus.common import egress


async def dial(host: str, port: int, *, local_address: str | None, limit_s: float) -> socket.socket:
    """A connected socket: the addresses of the host are tried in their order, within `limit_s` in all.

    EgressRefused when one of them is off limits; otherwise the OSError (or TimeoutError) of the last one.
    """
    async with asyncio.timeout(limit_s):
        addresses = await egress.resolve(host, port)
        for address in addresses[:-1]:
            try:
                async with asyncio.timeout(limit_s / len(addresses)):
                    return await _connect(address, port, local_address)
            except OSError:  # TimeoutError is one
                continue
        return await _connect(addresses[-1], port, local_address)


async def _connect(address: str, port: int, local_address: str | None) -> socket.socket:
    connecting = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        if local_address:
            connecting.bind((local_address, 0))
        await asyncio.get_running_loop().sock_connect(connecting, (address, port))
    except BaseException:
        connecting.close()
        raise
    return connecting
