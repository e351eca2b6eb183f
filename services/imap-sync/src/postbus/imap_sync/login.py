"""Logging in: the best mechanism that server and credentials have in common (RFC 9051, 6.2; RFC 4959; RFC 7628)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from postbus.common.credentials import Credentials
from postbus.common.errors import AuthenticationFailed, BadInput, CommandRefused, ConnectFailed
from postbus.imap_sync.protocol.arguments import astring
from postbus.imap_sync.protocol.responses import Status, refusal
from postbus.imap_sync.wire import Wire

_LONGEST_INITIAL = 7_000  # bytes of an initial response in the command line; servers limit lines to 8 KB
_CANCEL = b"*"


@dataclass(slots=True)
class Exchange:
    """What one SASL mechanism answers to the server, in turn; anything further gets `afterwards`."""

    mechanism: str
    answers: list[bytes]
    afterwards: bytes = _CANCEL
    initial: bool = True  # the first answer may travel with the command (SASL-IR)
    challenge: str = field(default="", init=False)  # what the server said when it had all answers: why it failed

    def respond(self, prompt: bytes) -> bytes:
        """The line that answers a continuation."""
        if self.answers:
            return base64.b64encode(self.answers.pop(0))
        self.challenge = _decode_challenge(prompt)
        return self.afterwards


async def log_in(wire: Wire, credentials: Credentials, capabilities: frozenset[str], *, host: str, port: int) -> Status:
    """Log in. AuthenticationFailed with the server's words; ConnectFailed when it only says "later"."""
    exchange = choose_exchange(credentials, capabilities, host=host, port=port)
    try:
        if exchange is None:
            return await _login_command(wire, credentials, capabilities)
        try:
            return await _authenticate(wire, exchange, with_initial="SASL-IR" in capabilities)
        except CommandRefused as error:
            if not _mechanism_unknown(error, credentials, capabilities):
                raise
            return await _login_command(wire, credentials, capabilities)
    except CommandRefused as error:
        raise _failure(error, exchange.challenge if exchange else "") from error
    except BadInput as error:
        raise AuthenticationFailed("user name or password can not be sent", code="EAUTH") from error


def choose_exchange(credentials: Credentials, capabilities: frozenset[str], *, host: str, port: int) -> Exchange | None:
    """The SASL exchange for these credentials; None for the LOGIN command."""
    user = credentials.user.encode()
    if credentials.access_token is not None:
        if "AUTH=OAUTHBEARER" in capabilities and "AUTH=XOAUTH2" not in capabilities:
            return Exchange("OAUTHBEARER", [_oauthbearer(credentials, host, port)], afterwards=b"AQ==")
        return Exchange("XOAUTH2", [_xoauth2(credentials)], afterwards=b"")
    password = (credentials.password or "").encode()
    if b"\0" in user + password:
        raise AuthenticationFailed("user name or password can not be sent", code="EAUTH")
    shared = "\\" in credentials.user or "/" in credentials.user  # quirk_shared_mailbox (Exchange): user/mailbox
    if shared and "LOGINDISABLED" not in capabilities:
        return None
    if "AUTH=PLAIN" in capabilities:
        return Exchange("PLAIN", [b"\0" + user + b"\0" + password])
    if "AUTH=LOGIN" in capabilities:
        return Exchange("LOGIN", [user, password], initial=False)
    return None


async def _authenticate(wire: Wire, exchange: Exchange, *, with_initial: bool) -> Status:
    command = f"AUTHENTICATE {exchange.mechanism}"
    if with_initial and exchange.initial and len(exchange.answers[0]) <= _LONGEST_INITIAL * 3 // 4:
        command += " " + base64.b64encode(exchange.answers.pop(0)).decode("ascii")
    return await wire.converse(command, respond=exchange.respond)


async def _login_command(wire: Wire, credentials: Credentials, capabilities: frozenset[str]) -> Status:
    """LOGIN; user and password always as strings, never as atoms."""
    if "LOGINDISABLED" in capabilities:
        raise AuthenticationFailed("the server does not allow a login over this connection", code="LOGINDISABLED")
    return await wire.run("LOGIN", astring(credentials.user), astring(credentials.password or ""))


def _mechanism_unknown(error: CommandRefused, credentials: Credentials, capabilities: frozenset[str]) -> bool:
    """Whether LOGIN is worth a try: a mechanism was not understood. A wrong password is never tried twice."""
    return (
        error.status == "BAD"
        and credentials.access_token is None
        and "LOGINDISABLED" not in capabilities
        and not refusal(error).busy
    )


def _failure(error: CommandRefused, challenge: str) -> AuthenticationFailed | ConnectFailed:
    """quirk_throttled_login (M365): "later" is no rejected credential."""
    status = refusal(error)
    details = {"challenge": challenge} if challenge else {}
    if status.busy and status.code != "AUTHENTICATIONFAILED":
        waiting = {} if status.backoff_s is None else {"backoff_s": status.backoff_s}
        return ConnectFailed(error.message, code=status.code or "THROTTLED", **waiting)
    return AuthenticationFailed(
        error.message or "the server refused the login", code=error.server_code or error.status, **details
    )


def _xoauth2(credentials: Credentials) -> bytes:
    return f"user={credentials.user}\x01auth=Bearer {credentials.access_token}\x01\x01".encode()


def _oauthbearer(credentials: Credentials, host: str, port: int) -> bytes:
    """RFC 7628, 3.1: `,` and `=` of the user name are escaped as in RFC 5801."""
    user = credentials.user.replace("=", "=3D").replace(",", "=2C")
    fields = f"\x01host={host}\x01port={port}\x01auth=Bearer {credentials.access_token}\x01\x01"
    return f"n,a={user},{fields}".encode()


def _decode_challenge(prompt: bytes) -> str:
    try:
        return base64.b64decode(prompt, validate=True).decode("utf-8", "replace")[:1_000]
    except ValueError:
        return ""
