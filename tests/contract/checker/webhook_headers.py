"""Rules for the headers of a webhook delivery, as `_headers` of webhooks.json words them."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

CUSTOM_ROUTE = "x-ee-wh-custom-route"
EVENT_ID = "x-ee-wh-event-id"
JOB_ID = "x-ee-wh-id"
SIGNATURE = "x-ee-wh-signature"

_UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: str
    meaning: str
    required: bool = True


_RULES = {
    "content-type": _Rule(r"application/json(\s*;.*)?", "application/json"),
    "user-agent": _Rule(r"\S+/\S+ \(\+\S+\)", "PRODUCT/VERSION (+URL)"),
    "authorization": _Rule(r"Basic \S+", "Basic credentials", required=False),
    "content-length": _Rule(r"\d+", "a number of bytes"),
    JOB_ID: _Rule(r"\S+", "the queue job id"),
    "x-ee-wh-attempts-made": _Rule(r"\d+", "a count, 0 on the first attempt"),
    "x-ee-wh-queued-time": _Rule(r"\d+s", "whole seconds with suffix s"),
    EVENT_ID: _Rule(_UUID, "a UUID"),
    CUSTOM_ROUTE: _Rule(r"\S+", "the route id", required=False),
    SIGNATURE: _Rule(r"[A-Za-z0-9_-]{43}", "43 characters of base64url without padding"),
}


def header_faults(headers: Mapping[str, str], raw_body: bytes, secret: str | None) -> Iterator[str]:
    """What is wrong with the headers (names in lower case); the body is needed for length and signature."""
    for name, rule in _RULES.items():
        yield from _rule_faults(name, rule, headers.get(name))
    if "transfer-encoding" in headers:
        yield "transfer-encoding: not wanted, the length is explicit"
    if "authorization" in headers and not _is_basic(headers["authorization"]):
        yield "authorization: not base64 of user:password"
    yield from _length_faults(headers, raw_body)
    if secret is not None:
        yield from _signature_faults(headers, raw_body, secret)


def sign(raw_body: bytes, secret: str) -> str:
    """base64url(HMAC-SHA256(secret, raw body)), no padding."""
    digest = hmac.new(secret.encode(), raw_body, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _rule_faults(name: str, rule: _Rule, value: str | None) -> Iterator[str]:
    if value is None:
        if rule.required:
            yield f"{name}: missing"
    elif not re.fullmatch(rule.pattern, value):
        yield f"{name}: should be {rule.meaning}, is {value!r}"


def _is_basic(value: str) -> bool:
    try:
        return b":" in base64.b64decode(value.removeprefix("Basic ").encode(), validate=True)
    except (binascii.Error, ValueError):
        return False


def _length_faults(headers: Mapping[str, str], raw_body: bytes) -> Iterator[str]:
    stated = headers.get("content-length", "")
    if stated.isdigit() and int(stated) != len(raw_body):
        yield f"content-length: {stated} stated, body has {len(raw_body)} bytes"


def _signature_faults(headers: Mapping[str, str], raw_body: bytes, secret: str) -> Iterator[str]:
    if not hmac.compare_digest(headers.get(SIGNATURE, ""), sign(raw_body, secret)):
        yield f"{SIGNATURE}: does not match the body and the secret"
