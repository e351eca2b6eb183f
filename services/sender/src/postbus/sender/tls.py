"""TLS contexts of mail servers: one per set of options in a process, as each one loads the system's certificates."""

from __future__ import annotations

import ssl
from functools import lru_cache

from postbus.common.accounts import TlsOptions

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


def tls_context(options: TlsOptions, *, trust_all: bool) -> ssl.SSLContext:
    """The context for these options; `trust_all` is the setting that switches certificate checks off."""
    return _context(options.reject_unauthorized and not trust_all, options.min_version)


@lru_cache(maxsize=16)
def _context(verify: bool, min_version: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if min_version in _VERSIONS:
        context.minimum_version = _VERSIONS[min_version]
    return context
