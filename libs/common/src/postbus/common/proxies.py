"""Proxies on the way to mail servers: what a proxy URL says (contract, section 31).

Schemes: `http` and `https` (CONNECT; RFC 9110, 9.3.6), `socks5` (RFC 1928, 1929), `socks4` and `socks4a`; `socks` means
`socks5`. Whatever the scheme, the proxy resolves the name of the mail server. Userinfo of the URL is a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote, urlsplit

MAX_URL_CHARS = 2048
MAX_USER_BYTES = 255  # RFC 1929, 2; the same for the password


class ProxyKind(StrEnum):
    """What is spoken with a proxy."""

    HTTP = "http"
    HTTPS = "https"
    SOCKS4 = "socks4"
    SOCKS5 = "socks5"


_KINDS = {
    "http": ProxyKind.HTTP,
    "https": ProxyKind.HTTPS,
    "socks": ProxyKind.SOCKS5,
    "socks5": ProxyKind.SOCKS5,
    "socks4": ProxyKind.SOCKS4,
    "socks4a": ProxyKind.SOCKS4,
}
_PORTS = {ProxyKind.HTTP: 80, ProxyKind.HTTPS: 443, ProxyKind.SOCKS4: 1080, ProxyKind.SOCKS5: 1080}


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy is and who asks it. `user` None: nobody logs in."""

    kind: ProxyKind
    host: str
    port: int
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Host and port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL without its userinfo."""
        return f"{self.kind.value}://{self.name}"


class ProxyFailed(OSError):
    """The way through the proxy failed; says so in words that name the proxy and never its credentials.

    `code` is `EPROXYAUTH` where the proxy wants another login, else `EPROXY`.
    """

    def __init__(self, message: str, code: str = "EPROXY") -> None:
        super().__init__(message)
        self.code = code


def parse_proxy(url: str) -> Proxy:
    """Read a proxy URL; ValueError, which never repeats it, for one that can't be used."""
    if len(url) > MAX_URL_CHARS or any(char <= " " or char == "\x7f" for char in url):
        raise ValueError("must not be longer than 2048 characters, nor hold spaces, line breaks or control characters")
    try:
        parts = urlsplit(url)
        kind, host, port = _KINDS.get(parts.scheme), parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be a URL") from None  # the cause would carry the URL
    if kind is None:
        raise ValueError(f"must be a URL that starts with {', '.join(f'{scheme}://' for scheme in _KINDS)}")
    if not host or port == 0 or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("must be a URL of nothing but scheme, login, host and port")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if any(len(text.encode()) > MAX_USER_BYTES or "\0" in text for text in (user or "", password or "")):
        raise ValueError("must not hold a user or password of more than 255 bytes")
    return Proxy(kind, host, _PORTS[kind] if port is None else port, user, password)
