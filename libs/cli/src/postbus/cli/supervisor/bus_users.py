"""Who may say and hear what on the bus: one user a service, nothing that is not in this table (design, "Trust").

Every user reads only its own inbox (`_INBOX.<service>`); who answers somebody may write to that one's. `postbus` is the
supervisor's own user, which migrates the streams.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from postbus.common.bus.streams import DLQ, EVENTS, JOBS, LANES, RAW

ADMIN = "postbus"
PASSWORD_BYTES = 24

_LANES = f"KV_{LANES}"


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects, with wildcards; `hear_not` is taken out of `hear`."""

    say: tuple[str, ...]
    hear: tuple[str, ...]
    hear_not: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BusUser:
    """A user of the embedded server."""

    name: str
    permissions: Permissions
    password: str = field(repr=False)


def _inboxes(*services: str) -> tuple[str, ...]:
    return tuple(f"_INBOX.{service}.>" for service in services)


def _events(*events: str) -> tuple[str, ...]:
    return tuple(f"ee.events.*.{event}.*" for event in events)


def _read_stream(stream: str) -> tuple[str, ...]:
    """Look at a stream and get single messages of it."""
    return (
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}.>",
    )


def _consume(stream: str) -> tuple[str, ...]:
    """Work with consumers that exist: fetch and acknowledge."""
    return (
        f"$JS.API.CONSUMER.INFO.{stream}.*",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
        f"$JS.ACK.{stream}.>",
        f"$JS.FC.{stream}.>",
    )


def _manage_consumers(stream: str) -> tuple[str, ...]:
    """Make and delete consumers, too."""
    return (
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.*",
        f"$JS.API.CONSUMER.DELETE.{stream}.*",
        f"$JS.API.CONSUMER.NAMES.{stream}",
        f"$JS.API.CONSUMER.LIST.{stream}",
        *_consume(stream),
    )


_HINTS = ("ee.ctl.*",)
_LOOK = ("$JS.API.INFO", "$JS.API.STREAM.NAMES")
_SUBMIT = ("ee.job.send.*.*", "ee.sch.*", "ee.raw.*.*", f"$JS.API.STREAM.PURGE.{JOBS}", f"$JS.API.STREAM.PURGE.{RAW}")

PERMISSIONS: dict[str, Permissions] = {
    "api": Permissions(
        say=(
            "ee.rpc.*.*",
            *_SUBMIT,
            *_events("accountDeleted"),
            *_HINTS,
            *_inboxes("api", "imap-sync", "auth"),
            *_LOOK,
            *_read_stream(EVENTS),
            *_read_stream(JOBS),
            *_read_stream(RAW),
            *_read_stream(DLQ),
            *_read_stream(_LANES),
            *_manage_consumers(EVENTS),
        ),
        hear=(*_inboxes("api"), *_HINTS),
    ),
    "imap-sync": Permissions(
        say=(
            "ee.rpc.auth.ensure",
            "ee.events.*.*.*",
            *_HINTS,
            *_inboxes("imap-sync", "api", "sender"),
            *_LOOK,
            *_read_stream(EVENTS),
            *_read_stream(RAW),
            f"$JS.API.CONSUMER.INFO.{EVENTS}.*",
            f"$JS.API.CONSUMER.NAMES.{EVENTS}",
            f"$JS.API.CONSUMER.LIST.{EVENTS}",
        ),
        hear=(*_inboxes("imap-sync"), "ee.rpc.*.*", *_HINTS),
        hear_not=("ee.rpc.auth.*", "ee.rpc.smtp.*"),
    ),
    "sender": Permissions(
        say=(
            "ee.rpc.*.file",
            "ee.rpc.auth.ensure",
            *_events("messageSent", "messageDeliveryError", "messageFailed"),
            *_SUBMIT,
            "ee.job.file.*.*",
            "ee.dlq.*.*",
            *_HINTS,
            *_inboxes("sender", "api"),
            *_LOOK,
            *_read_stream(JOBS),
            *_read_stream(RAW),
            *_consume(JOBS),
        ),
        hear=(*_inboxes("sender"), "ee.rpc.smtp.*", *_HINTS),
    ),
    "webhooks": Permissions(
        say=(
            "ee.dlq.*.*",
            "ee.attempts.*.*",
            f"$KV.{LANES}.>",
            *_HINTS,
            *_inboxes("webhooks", "api"),
            *_LOOK,
            *_read_stream(EVENTS),
            *_read_stream(_LANES),
            *_manage_consumers(EVENTS),
            *_manage_consumers(_LANES),
            f"$JS.API.STREAM.PURGE.{_LANES}",
        ),
        hear=(*_inboxes("webhooks"), *_HINTS),
    ),
    "auth": Permissions(
        say=(*_HINTS, *_inboxes("auth", "api", "imap-sync", "sender")),
        hear=(*_inboxes("auth"), "ee.rpc.auth.*", *_HINTS),
    ),
    ADMIN: Permissions(say=(">",), hear=(">",)),
}


def draw_users() -> dict[str, BusUser]:
    """All users, with passwords that nobody has seen."""
    return {name: BusUser(name, PERMISSIONS[name], secrets.token_urlsafe(PASSWORD_BYTES)) for name in PERMISSIONS}


def compose_authorization(users: Sequence[BusUser]) -> str:
    """The `authorization` block of the server's configuration: who is not in it gets in nowhere."""
    return "authorization { users: [\n" + "".join(_compose_user(user) for user in users) + "] }\n"


def _compose_user(user: BusUser) -> str:
    permissions = user.permissions
    return (
        f'  {{ user: "{user.name}", password: "{user.password}", permissions: {{\n'
        f"    publish: {{ allow: {json.dumps(permissions.say)} }}\n"
        f"    subscribe: {{ allow: {json.dumps(permissions.hear)}, deny: {json.dumps(permissions.hear_not)} }}\n"
        "  } }\n"
    )
