"""One connection to NATS a process: it reconnects for ever, logs once a change, and gives every wait a limit."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import PubAck

from postbus.common.bus.room import QueueRoom
from postbus.common.errors import Unavailable
from postbus.common.events import Envelope

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 5.0
RECONNECT_WAIT_S = 0.25
PUBLISH_TIMEOUT_S = 5.0
DRAIN_TIMEOUT_S = 2  # a subscription that nobody reads any more would hold up the end for as long
MAX_PENDING_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class BusAddress:
    """Where NATS is and how we get in: user and password in the URL, or a credentials file; a CA for `tls://`."""

    url: str = field(repr=False)  # holds the password
    ca_file: Path | None = None
    credentials_file: Path | None = None


@dataclass(slots=True)
class Bus:
    """The connection, and what all services do with it."""

    nc: Client
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # set when the client will not connect again
    jobs_room: QueueRoom = field(default_factory=lambda: QueueRoom("JOBS"))
    js: JetStreamContext = field(init=False)

    def __post_init__(self) -> None:
        self.js = self.nc.jetstream(timeout=PUBLISH_TIMEOUT_S)

    @property
    def connected(self) -> bool:
        """Whether the server can be reached right now."""
        return bool(self.nc.is_connected)

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> PubAck:
        """Store a message in the stream of its subject and wait until it is kept.

        Unavailable when the stream is full, the bus is away, or no answer came: publish again with the same
        Nats-Msg-Id.
        """
        try:
            return await self.js.publish(subject, payload, headers=dict(headers) if headers else None)
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
            raise Unavailable(f"bus: {error or type(error).__name__}", code="BusUnavailable") from error

    async def publish_event(self, event: Envelope, trace: Mapping[str, str] | None = None) -> PubAck:
        """Put one event into the log."""
        return await self.publish(event.subject, event.body, event_headers(event, trace))

    async def say(self, subject: str, payload: bytes = b"") -> None:
        """Tell whoever listens, without any promise: hints only, truth is in the store."""
        try:
            await self.nc.publish(subject, payload)
        except nats.errors.Error as error:
            log.debug("hint not sent", subject=subject, error=str(error))

    async def keep(self) -> None:
        """Watch over the connection; Unavailable when it is closed for good.

        nats-py does not reconnect after an error of the server that it does not know, or that names our credentials.
        """
        await self.gone.wait()
        raise Unavailable(f"bus closed: {self.nc.last_error or 'no reason given'}", code="BusUnavailable")

    async def close(self) -> None:
        """Finish what is under way, then close."""
        if self.nc.is_connected:
            await self.nc.drain()
        await self.nc.close()


async def connect_bus(address: BusAddress, *, service: str) -> Bus:
    """Connect and stay connected; Unavailable when the server can't be reached now.

    The inbox prefix is the service's own, so that permissions can keep services from reading each other's replies.
    """
    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "reconnect_time_wait": RECONNECT_WAIT_S}
    if address.ca_file:
        options["tls"] = ssl.create_default_context(cafile=str(address.ca_file))
    if address.credentials_file:
        options["user_credentials"] = str(address.credentials_file)
    nc, gone = Client(), asyncio.Event()

    async def on_closed() -> None:
        gone.set()

    async def on_disconnected() -> None:
        if not (nc.is_closed or nc.is_draining):
            log.warning("bus disconnected")

    try:
        await nc.connect(
            address.url,
            name=f"postbus {service}",
            inbox_prefix=f"_INBOX.{service}".encode(),
            max_reconnect_attempts=1,  # for ever would be for the first connect too, and it never an error
            allow_reconnect=False,
            pending_size=MAX_PENDING_BYTES,
            drain_timeout=DRAIN_TIMEOUT_S,
            error_cb=_on_error,
            disconnected_cb=on_disconnected,
            closed_cb=on_closed,
            reconnected_cb=_on_reconnected,
            **options,
        )
    except (OSError, nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"bus: {error or type(error).__name__}", code="BusUnavailable") from error
    nc.options |= {"allow_reconnect": True, "max_reconnect_attempts": -1}
    return Bus(nc, gone)


def event_headers(event: Envelope, trace: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers of an event in the log; header values are ASCII, so an odd account id goes in by its token."""
    event_id = str(event.event_id)
    return {"Nats-Msg-Id": event_id, "Ee-Event-Id": event_id, "Ee-Account": event.token, **(trace or {})}


async def _on_error(error: Exception) -> None:
    level = log.debug if isinstance(error, OSError) else log.warning  # "disconnected" said that it is away
    level("bus error", error=str(error) or type(error).__name__)


async def _on_reconnected() -> None:
    log.info("bus reconnected")
