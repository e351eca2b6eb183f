"""What goes wrong in a step of an SMTP conversation, in our own words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiosmtplib
from aiosmtplib import SMTPResponse

from postbus.common.egress import EgressRefused
from postbus.common.proxies import ProxyFailed
from postbus.sender.outcome import DeliveryFailed, Failure

MAX_REPLY_CHARS: Final = 1000  # of a reply that goes into events

_CODES: Final = {"CONN": "ECONNECTION", "EHLO": "ECONNECTION", "MAIL FROM": "EENVELOPE", "RCPT TO": "EENVELOPE"}


@contextmanager
def failures(command: str, *, code: str | None = None, end_sent: bool = False) -> Iterator[None]:
    """Turn what goes wrong in a step into DeliveryFailed; after the end of the message, silence is uncertain."""
    try:
        yield
    except aiosmtplib.SMTPResponseException as error:
        failure = refused_by(command, SMTPResponse(error.code, error.message), code)
        raise DeliveryFailed(failure.model_copy(update={"uncertain": end_sent})) from error
    except ssl.SSLError as error:
        raise DeliveryFailed(_tls_failure(command, error, end_sent)) from error
    except EgressRefused as error:
        raise DeliveryFailed(Failure(error=str(error), code="EACCES", command=command)) from error
    except ProxyFailed as error:
        raise DeliveryFailed(Failure(error=str(error), code=error.code, command=command)) from error
    except TimeoutError as error:
        raise DeliveryFailed(timed_out(command, end_sent=end_sent)) from error
    except (OSError, aiosmtplib.SMTPException) as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLError):
            raise DeliveryFailed(_tls_failure(command, cause, end_sent)) from error
        raise DeliveryFailed(lost(command, str(error) or type(error).__name__, end_sent=end_sent)) from error
    except ValueError as error:  # a word that can't be sent as a command: control characters, beyond ASCII
        raise DeliveryFailed(Failure(error=str(error), code="EENVELOPE", command=command)) from error


def refused_by(command: str, reply: SMTPResponse, code: str | None = None) -> Failure:
    """The server said no, or something that is no SMTP reply."""
    said = f"{reply.code} {shown(reply)}"
    if not 200 <= reply.code <= 599:  # no SMTP reply at all; the library writes -1
        return Failure(error=f"Unexpected answer: {shown(reply)}", code="ECONNECTION", command=command)
    return Failure(
        error=f"{command} refused: {said}",
        code=code or _CODES.get(command, "EMESSAGE"),
        command=command,
        reply=said,
        reply_code=reply.code,
    )


def _tls_failure(command: str, error: ssl.SSLError, end_sent: bool) -> Failure:
    """A certificate that is not trusted does not get better; a handshake that broke off may."""
    code = "ETLS" if isinstance(error, ssl.SSLCertVerificationError) else "ESOCKET"
    reason = getattr(error, "verify_message", None) or error.reason or str(error)
    return Failure(error=f"TLS: {reason}", code=code, command=command, uncertain=end_sent)


def timed_out(command: str, *, end_sent: bool = False) -> Failure:
    """The server said nothing for too long."""
    return Failure(error=f"{command}: no answer in time", code="ETIMEDOUT", command=command, uncertain=end_sent)


def lost(command: str, reason: str, *, end_sent: bool = False) -> Failure:
    """The connection failed."""
    return Failure(error=f"{command}: {reason}", code="ECONNECTION", command=command, uncertain=end_sent)


def shown(reply: SMTPResponse) -> str:
    """The text of a reply on one line, cut, and fit for JSON."""
    return " ".join(reply.message.encode("utf-8", "replace").decode("utf-8", "replace").split())[:MAX_REPLY_CHARS]
