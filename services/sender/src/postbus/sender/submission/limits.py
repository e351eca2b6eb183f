"""What a client of the submission server may take: of time, memory, connections and tries."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class SubmissionLimits:
    """Seconds, bytes and counts; nobody configures them."""

    idle_s: float = 300.0  # RFC 5321, 4.5.3.2.7
    login_s: float = 60.0  # to say who one is
    connection_s: float = 1800.0
    message_s: float = 600.0  # from DATA to the end of the message
    proxy_s: float = 5.0  # to send the PROXY line
    handshake_s: float = 30.0
    accept_s: float = 60.0  # to keep a message; the client is told to come again after that
    drain_s: float = 10.0  # what is being accepted may end while the server stops
    recipients: int = 1000
    logins: int = 3  # failures of one connection
    login_delay_s: float = 1.0  # after the first failure of an address; it doubles
    longest_delay_s: float = 8.0
    connections: int = 500
    strangers: int = 20  # connections of one address that have not said who they are
    held: int = 128 * MIB  # of messages that are being received, in all connections
