"""Errors say whose fault it was and what to do next.

    PostbusError                 code: stable word for API users; retriable: may the same thing work later?
    ├── BadInput                 the caller's fault: refuse, name the fields
    ├── NotFound                 what was asked for is not there
    ├── Conflict                 it is there, but not in a state for this
    ├── Busy                     somebody else is at it
    ├── TooLarge                 over a limit
    ├── AccountNotUsable         the account exists and can't work now; `state` says why
    ├── AuthenticationFailed     somebody refused our credentials
    ├── ConnectFailed            a network or TLS failure before anything was asked
    ├── ConnectionLost           the peer went away in the middle
    ├── ProtocolError            the peer broke its protocol
    ├── CommandRefused           the peer understood, and said no (IMAP NO, BAD; SMTP 5xx)
    ├── UploadFailed             the mail server did not take a message
    ├── NotSupported             the peer lacks an extension that this needs
    ├── Unavailable              a part of ours is away or full: bus, store, worker, secrets
    └── DeadlineExceeded         it took longer than the caller allows

A mistake of our own is a plain ValueError or AssertionError. HTTP status codes are one table in `postbus.api.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class PostbusError(Exception):
    """The root. `code` is what API users see, `retriable` all a worker looks at, `details` goes to the API answer."""

    code: str = "InternalError"
    retriable: ClassVar[bool] = False

    def __init__(self, message: str, *, code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        if code is not None:
            self.code = code


class BadInput(PostbusError):
    """The caller's fault. `fields` lists every failure: `[{"key": "to.0.address", "message": "..."}]`."""

    code = "InputValidationError"
    fields: Sequence[dict[str, str]] = ()

    def __init__(
        self, message: str = "Invalid input", *, fields: Sequence[dict[str, str]] = (), code: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.fields = fields


class NotFound(PostbusError):
    """What was asked for is not there: `AccountNotFound`, `MessageNotFound`, `FolderNotFound`, `ReferenceNotFound`."""

    code = "NotFound"


class Conflict(PostbusError):
    """It is there, but not in a state for this."""

    code = "Conflict"


class Busy(PostbusError):
    """Somebody else is at it; `details["ttl"]` is how many seconds that may last."""

    code = "LockFail"
    retriable = True


class TooLarge(PostbusError):
    """Over a limit that is named in the message."""

    code = "TooLarge"


class AccountNotUsable(PostbusError):
    """The account exists and can't work now; `details["state"]` is its state."""

    code = "NotYetConnected"
    retriable = True


class AuthenticationFailed(PostbusError):
    """Somebody refused our credentials; the message is that server's own text."""

    code = "EAUTH"


class ConnectFailed(PostbusError):
    """A network or TLS failure before anything was asked of the peer."""

    code = "ConnectionError"
    retriable = True


class ConnectionLost(PostbusError):
    """The peer went away in the middle."""

    code = "ConnectionLost"
    retriable = True


class ProtocolError(PostbusError):
    """The peer broke its protocol, or sent more than we are willing to read."""

    code = "ProtocolError"
    retriable = True


class CommandRefused(PostbusError):
    """The peer understood and said no. `server_code` is its response code (`OVERQUOTA`), if it gave one."""

    code = "CommandRefused"
    status = "NO"
    server_code: str | None = None

    def __init__(self, message: str, *, status: str = "NO", server_code: str | None = None) -> None:
        super().__init__(message, code=server_code)
        self.status = status
        self.server_code = server_code


class UploadFailed(PostbusError):
    """The mail server did not take a message; `details["serverResponseCode"]` is its response code, if it gave one."""

    code = "UploadFail"


class NotSupported(PostbusError):
    """The peer lacks an extension that this needs; nothing was done."""

    code = "MissingServerExtension"


class Unavailable(PostbusError):
    """A part of ours is away or full; the same request may work later."""

    code = "Unavailable"
    retriable = True


class DeadlineExceeded(PostbusError):
    """It took longer than the caller allows."""

    code = "Timeout"
    retriable = True
