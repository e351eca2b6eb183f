"""The HTTP request of one attempt (contract, `webhooks.json`): address, headers, body and signatures, as values.

The body is `serviceUrl` and then the event's own bytes as they are on the bus. Besides the incumbent's headers there
are those of Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from yarl import URL

from postbus.common.version import USER_AGENT
from postbus.webhooks.event_log import LoggedEvent
from postbus.webhooks.records import ROUTE
from postbus.webhooks.targets import Target

_STANDARD_PREFIX = "whsec_"
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "trailer", "te", "upgrade"})


@dataclass(frozen=True, slots=True)
class Address:
    """A target taken apart: the URL without its userinfo, the header that this became, and what logs may show."""

    url: URL
    authorization: str | None
    origin: str


@lru_cache(1024)
def parse_target(target: str) -> Address:
    """Take a target apart; ValueError, which does not repeat it, when it is no absolute http or https URL."""
    try:
        url = URL(target)
        origin = f"{url.scheme}://{url.host}:{url.port}"
    except ValueError:
        raise ValueError("the target is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("the target is not an http or https URL")
    if url.raw_user is None and url.raw_password is None:
        return Address(url, None, origin)
    login = f"{unquote(url.raw_user or '')}:{unquote(url.raw_password or '')}"
    return Address(url.with_user(None), f"Basic {base64.b64encode(login.encode()).decode()}", origin)


def is_object(event: bytes) -> bool:
    """Whether the bytes look like a JSON object: all that the body needs to know of the event."""
    return event.startswith(b"{") and event.endswith(b"}")


def compose_body(event: bytes, service_url: str | None) -> bytes:
    """The event, a JSON object, with `serviceUrl` in front."""
    rest = event[1:].lstrip()
    comma = b"" if rest == b"}" else b","
    return b'{"serviceUrl":' + json.dumps(service_url).encode() + comma + rest


def compose_headers(event: LoggedEvent, target: Target, body: bytes, *, attempt: int, now: float) -> dict[str, str]:
    """All headers of an attempt; `attempt` counts those before it. Custom ones may replace all but the framing's."""
    ours = _delivery_headers(event, target.secret, body, attempt, now)
    protected = _FRAMING | {name.lower() for name in ours}
    headers = {"content-type": ("Content-Type", "application/json"), "user-agent": ("User-Agent", USER_AGENT)}
    if authorization := parse_target(target.url).authorization:
        headers["authorization"] = ("Authorization", authorization)
    for name, value in target.headers:
        if name.lower() not in protected:
            headers[name.lower()] = (name, value)
    return dict(headers.values()) | ours


def sign(body: bytes, secret: str) -> str:
    """The incumbent's signature: base64url of HMAC-SHA256 over the raw body, without padding."""
    digest = hmac.digest(secret.encode(), body, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def sign_standard(event_id: str, timestamp: int, body: bytes, secret: str) -> str:
    """The signature of Standard Webhooks; a secret of theirs (`whsec_…`) is decoded, any other is taken as it is."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(_standard_key(secret), signed, hashlib.sha256)).decode()


def _delivery_headers(event: LoggedEvent, secret: str | None, body: bytes, attempt: int, now: float) -> dict[str, str]:
    headers = {
        "Content-Length": str(len(body)),
        "X-EE-Wh-Id": f"{ROUTE}-{event.event_id}",
        "X-EE-Wh-Attempts-Made": str(attempt),
        "X-EE-Wh-Queued-Time": f"{max(0, int(now - event.at))}s",
        "X-EE-Wh-Event-Id": event.event_id,
        "webhook-id": event.event_id,
        "webhook-timestamp": str(int(now)),
    }
    if secret:
        headers["X-EE-Wh-Signature"] = sign(body, secret)
        headers["webhook-signature"] = sign_standard(event.event_id, int(now), body, secret)
    return headers


def _standard_key(secret: str) -> bytes:
    if secret.startswith(_STANDARD_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_STANDARD_PREFIX), validate=True)
        except binascii.Error:
            return secret.encode()
    return secret.encode()
