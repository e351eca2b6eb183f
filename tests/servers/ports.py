"""Free loopback ports that no outgoing connection can take before their server does."""

import secrets
import socket
from contextlib import ExitStack
from pathlib import Path

HOST = "127.0.0.1"
LOWEST_PORT = 10240  # below are services that a developer's machine may run
EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
DEFAULT_EPHEMERAL_START = 32768  # Linux default, where /proc does not tell


def free_port() -> int:
    """One free port, see `free_ports`."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return `count` different free ports below the ephemeral range.

    From there the kernel never picks the local port of an outgoing connection, so a port stays free until its
    server binds it. Many to choose from keeps parallel test processes apart.
    """
    span = max(_ephemeral_start() - LOWEST_PORT, 2000)
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < count:
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((HOST, LOWEST_PORT + secrets.randbelow(span)))
            except OSError:
                continue
            ports.append(probe.getsockname()[1])
    return ports


def _ephemeral_start() -> int:
    try:
        return int(EPHEMERAL_PORTS.read_text().split()[0])
    except OSError:
        return DEFAULT_EPHEMERAL_START
