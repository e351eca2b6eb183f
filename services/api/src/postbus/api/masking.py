"""Secrets in answers read `******`; a masked value that comes back never overwrites what it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from postbus.api.schemas.fields import MASK


def mask_url(url: str | None) -> str | None:
    """The URL with the password of its userinfo masked."""
    if not url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url
    user, colon, _ = userinfo.partition(":")
    masked = f"{user}:{MASK}@{host}" if colon else f"{MASK}@{host}"
    return urlunsplit(parts._replace(netloc=masked))


def is_masked_url(url: str) -> bool:
    """Whether the userinfo of this URL holds a mask."""
    return url == MASK or MASK in url.partition("://")[2].partition("/")[0].rpartition("@")[0]


def mask_headers(headers: Sequence[Any]) -> list[dict[str, str]]:
    """Header pairs with their values masked, for what has `key` and `value`."""
    return [{"key": header.key, "value": MASK if header.value else ""} for header in headers]


def unmask_headers(given: Sequence[Mapping[str, str]], stored: Sequence[Any]) -> list[dict[str, str]]:
    """Header pairs as they came in, masked values replaced by the stored ones; a mask without one is dropped."""
    known = {header.key.lower(): header.value for header in stored}
    restored = []
    for header in given:
        value = known.get(header["key"].lower()) if header["value"] == MASK else header["value"]
        if value is not None:
            restored.append({"key": header["key"], "value": value})
    return restored
