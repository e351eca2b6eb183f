"""Addresses that no request of ours may go to, whoever asks: cloud metadata services and link-local ones.

Private and loopback addresses are allowed: receivers next to us are the rule for who hosts this by themselves. What is
checked is the address a connection goes to, never the name, so DNS answers that change in between gain nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

REFUSED = tuple(
    ip_network(network)
    for network in (
        "169.254.0.0/16",  # link-local; metadata of AWS, Azure, GCP and most others
        "fe80::/10",  # link-local
        "fd00:ec2::254/128",  # metadata of AWS
        "fd20:ce::254/128",  # metadata of GCP
        "100.100.100.200/32",  # metadata of Alibaba Cloud
    )
)
_EMBEDDING_LAST_32 = (  # networks whose addresses end with an IPv4 address
    IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052
    IPv6Network("64:ff9b:1::/48"),  # NAT64, RFC 8215
    IPv6Network("::/96"),  # IPv4-compatible, RFC 4291, 2.5.5.1
)


class EgressRefused(OSError):
    """The address may not be connected to. An OSError, so that HTTP clients take it as a failed connection."""


def is_refused(address: str) -> bool:
    """Whether this IP address, or one that it embeds, is off limits; ValueError when it is none."""
    plain = ip_address(address.partition("%")[0])
    return any(form in network for form in _forms(plain) for network in REFUSED)


def refuse(address: str) -> None:
    """EgressRefused for an address that is off limits."""
    if is_refused(address):
        raise EgressRefused(f"connections to {address} are refused: link-local and metadata addresses are off limits")


def guarded_socket(address_info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
    """The socket for one resolved address; for `aiohttp.TCPConnector(socket_factory=...)`, which asks at connect."""
    family, kind, protocol, _, address = address_info
    refuse(str(address[0]))
    return socket.socket(family, kind, protocol)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses to connect to, in the system's order; OSError without any, EgressRefused if one is off limits."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    for address in addresses:
        refuse(address)
    return addresses


def _forms(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """The address, and the IPv4 addresses that translators and tunnels would make of it."""
    yield address
    if isinstance(address, IPv4Address):
        return
    for embedded in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
        if embedded is not None:
            yield embedded
    if any(address in network for network in _EMBEDDING_LAST_32):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
