"""Ports on loopback: free ones, and whether a server answers on one."""

import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

HOST = "127.0.0.1"

LOWEST_PORT = 10_240
FEWEST_PORTS = 2_000  # to choose from
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
POLL_S = 0.02
ANSWER_TIMEOUT_S = 2.0


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, below the ephemeral range: no outgoing connection takes one before it is used."""
    span = max(_lowest_ephemeral() - LOWEST_PORT, FEWEST_PORTS)
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            candidate = socket.socket()
            try:
                candidate.bind((HOST, LOWEST_PORT + secrets.randbelow(span)))
                held.append(candidate)
            except OSError:
                candidate.close()
        return [int(sock.getsockname()[1]) for sock in held]
    finally:
        for sock in held:
            sock.close()


def wait_for_greeting(port: int, prefix: bytes, deadline: float, alive: Callable[[], bool]) -> None:
    """Wait until the port greets as expected. RuntimeError when the server ended, or at the deadline (monotonic)."""
    last: object = None
    while time.monotonic() < deadline:
        if not alive():
            raise RuntimeError("server process ended during start")
        try:
            last = _greeting(port)
        except OSError as error:
            last = error
        if isinstance(last, bytes) and last.startswith(prefix):
            return
        time.sleep(POLL_S)
    raise RuntimeError(f"port {port} not ready: {last!r}")


def _greeting(port: int) -> bytes:
    with socket.create_connection((HOST, port), ANSWER_TIMEOUT_S) as connection:
        connection.settimeout(ANSWER_TIMEOUT_S)
        return connection.recv(200)


def _lowest_ephemeral() -> int:
    try:
        return int(EPHEMERAL_RANGE.read_text().split()[0])
    except OSError:
        return 32_768
