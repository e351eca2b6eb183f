"""The values of the configuration that are more than text: addresses, credentials, levels, durations, sizes, URLs."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

import orjson
from pydantic import BeforeValidator, SecretStr

from postbus.common.units import parse_duration, parse_size

MAX_WORKERS = 256  # as many as there are partitions of accounts: one more would never get work

_SEPARATORS = re.compile(r"[,;]")
_DIGITS = re.compile(r"-?[0-9]{1,10}", re.ASCII)


class LogLevel(StrEnum):
    """The incumbent's names of log levels; `trace` is the same as `debug` here."""

    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    FATAL = "fatal"


class TlsMode(StrEnum):
    """How a mail server of ours speaks TLS: after asking for it (RFC 3207), or from the first byte (RFC 8314)."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """An address of this machine that connections may start from, and the name to greet with there."""

    ip: str
    hostname: str | None = None


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """User and password that every HTTP request has to show (RFC 7617)."""

    user: str
    password: SecretStr


def parse_local_addresses(text: str) -> tuple[list[LocalAddress], list[str]]:
    """Read a comma or semicolon list of `ip` or `ip|hostname`; also the entries dropped as they hold no IP address."""
    addresses, dropped = [], []
    for entry in filter(None, (part.strip() for part in _SEPARATORS.split(text))):
        ip, _, hostname = (part.strip() for part in entry.partition("|"))
        try:
            addresses.append(LocalAddress(str(ipaddress.ip_address(ip)), hostname or None))
        except ValueError:
            dropped.append(entry)
    return addresses, dropped


def parse_basic_auth(text: str) -> BasicAuth:
    """Read `user:password`; the password may hold colons. ValueError where a part is empty."""
    user, _, password = text.partition(":")
    if not user.strip() or not password:
        raise ValueError("has to be user:password, both not empty")
    return BasicAuth(user.strip(), SecretStr(password))


def _duration(value: object) -> object:
    duration = parse_duration(str(value)) if _is_scalar(value) else value
    if isinstance(duration, timedelta) and duration <= timedelta(0):
        raise ValueError("has to be more than zero")
    return duration


def _size(value: object) -> object:
    size = parse_size(str(value)) if _is_scalar(value) else value
    if isinstance(size, int) and size <= 0:
        raise ValueError("has to be more than zero")
    return size


def _workers(value: object) -> object:
    return min(os.cpu_count() or 1, MAX_WORKERS) if value == "cpus" else value


def _whole_number(value: object) -> object:
    """Refuse what pydantic would quietly take for a number: TOML's `true`, and `3.0`."""
    if isinstance(value, bool | float):
        raise ValueError("has to be a whole number")
    return value


def _addresses(value: object) -> object:
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        value = ",".join(value)
    return parse_local_addresses(value)[0] if isinstance(value, str) else value


def _auth(value: object) -> object:
    return parse_basic_auth(value) if isinstance(value, str) else value


def _settings(value: object) -> object:
    return orjson.dumps(value, default=str).decode() if isinstance(value, dict) else value


def _level(value: object) -> object:
    level = str(value).strip().lower()
    if level not in list(LogLevel):
        raise ValueError(f"has to be one of {', '.join(LogLevel)}")
    return level


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _url(*schemes: str) -> BeforeValidator:
    """A check for a URL of one of these schemes. It never repeats the URL, which may hold a password."""

    def check(value: object) -> object:
        try:
            parts = urlsplit(str(value).strip())
            reachable = parts.path if parts.scheme == "unix" else parts.hostname and parts.port != 0
        except ValueError as error:
            raise ValueError("is not a URL") from error
        if value is not None and not (parts.scheme in schemes and reachable):
            raise ValueError(f"has to be a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return value

    return BeforeValidator(check)


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Size = Annotated[int, BeforeValidator(_size)]
Workers = Annotated[int, BeforeValidator(_whole_number), BeforeValidator(_workers)]  # the last one runs first
Port = Annotated[int, BeforeValidator(_whole_number)]
LocalAddresses = Annotated[list[LocalAddress], BeforeValidator(_addresses)]
Auth = Annotated[BasicAuth, BeforeValidator(_auth)]
SettingsText = Annotated[str, BeforeValidator(_settings)]
Level = Annotated[LogLevel, BeforeValidator(_level)]
RedisUrl = Annotated[str, _url("redis", "rediss", "unix")]
NatsUrl = Annotated[str, _url("nats", "tls")]
HttpUrl = Annotated[str, _url("http", "https")]
