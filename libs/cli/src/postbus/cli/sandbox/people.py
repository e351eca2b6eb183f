"""Who has a mailbox in the sandbox, and where its servers are: at every start the same, as accounts are kept."""

from __future__ import annotations

import json
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from postbus.cli.supervisor.data_dir import write_private

HOST = "127.0.0.1"
DOMAIN = "sandbox.test"  # RFC 2606: never a real one
PORTS_FILE = "sandbox.json"
FAVOURITE_PORTS = (11_143, 11_025)  # IMAP and SMTP, as the documentation has them
LOWEST_PORT, HIGHEST_PORT = 10_240, 32_767  # below the ports that outgoing connections get


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a mailbox. The password is no secret: the server is thrown away, and on loopback only."""

    account: str
    name: str
    address: str
    password: str = "sandbox"  # noqa: S105 - see above


PEOPLE = (
    Person("sandbox-alice", "Alice", f"alice@{DOMAIN}"),
    Person("sandbox-bob", "Bob", f"bob@{DOMAIN}"),
)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the mail server listens."""

    imap: int
    smtp: int


def settle_ports(data_dir: Path) -> Ports:
    """The ports of the last start, at first our favourites, or others where somebody else has them now."""
    path = data_dir / PORTS_FILE
    known = _known_ports(path)
    ports = known or Ports(*FAVOURITE_PORTS)
    if not (_is_free(ports.imap) and _is_free(ports.smtp)):
        ports = _draw_ports()
    if ports != known:
        write_private(path, json.dumps({"imap": ports.imap, "smtp": ports.smtp}))
    return ports


def _known_ports(path: Path) -> Ports | None:
    try:
        known = json.loads(path.read_text())
        return Ports(int(known["imap"]), int(known["smtp"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _draw_ports() -> Ports:
    found: set[int] = set()
    while len(found) < 2:
        port = LOWEST_PORT + secrets.randbelow(HIGHEST_PORT - LOWEST_PORT)
        if _is_free(port):
            found.add(port)
    imap, smtp = found
    return Ports(imap, smtp)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True
