"""Why a connection to a mail server failed, as a code for programs and in words for people."""

from __future__ import annotations

import errno
import os
import socket
import ssl

from postbus.common.egress import EgressRefused
from postbus.common.proxies import ProxyFailed


def code_of(error: OSError) -> str:
    """`ETLS`, `ENOTFOUND`, `ETIMEDOUT`, `EACCES` (off limits), `EPROXY…`, else the system's name: `ECONNREFUSED`."""
    match error:
        case ssl.SSLError():  # includes SSLCertVerificationError
            return "ETLS"
        case socket.gaierror():
            return "ENOTFOUND"
        case EgressRefused():
            return "EACCES"
        case ProxyFailed():
            return error.code
        case TimeoutError():
            return "ETIMEDOUT"
        case _:
            return errno.errorcode.get(error.errno or 0, "ECONNECTION")


def words_of(error: OSError) -> str:
    """One line that says what happened."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if error.errno and error.errno in errno.errorcode and not isinstance(error, socket.gaierror | ssl.SSLError):
        return os.strerror(error.errno)  # asyncio puts the address in its place
    return error.strerror or str(error) or type(error).__name__
