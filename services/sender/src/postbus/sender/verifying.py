"""Trying an SMTP login that nobody has stored (contract, `POST /v1/verifyAccount`)."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, replace

import aiosmtplib

from postbus.common.connect_errors import code_of, words_of
from postbus.common.errors import BadInput
from postbus.common.network import choose_proxy
from postbus.common.verifying import LoginResult, LoginTest
from postbus.sender.delivery import Deliverer
from postbus.sender.opening import open_session
from postbus.sender.outcome import DeliveryFailed

_PROXY_SHARE = 0.8  # of the time for all of it: a proxy that hangs is named, not the server behind it


@dataclass(frozen=True, slots=True)
class LoginTester:
    """Connects as a delivery would, once."""

    deliverer: Deliverer

    async def attempt(self, test: LoginTest, limit_s: float) -> LoginResult:
        """Try within `limit_s`. What goes wrong at the server is the result, not an error."""
        if test.smtp is None:
            raise BadInput("not a `verify` command")
        proxy = choose_proxy(self.deliverer.parts, test.proxy)
        timeouts = self.deliverer.timeouts
        timeouts = replace(timeouts, connect_s=min(timeouts.connect_s, limit_s * (_PROXY_SHARE if proxy else 1.0)))
        try:
            server, _ = self.deliverer.choose_server(test.smtp, test.ehlo_name, proxy, login=test.login)
            async with asyncio.timeout(limit_s):
                session = await open_session(server, test.credentials, timeouts)
                await session.quit()
        except DeliveryFailed as failed:
            return _failed(failed)
        except TimeoutError:
            return LoginResult(success=False, error=f"{test.smtp.host} did not answer in time", code="ETIMEDOUT")
        return LoginResult(success=True)


def _failed(failed: DeliveryFailed) -> LoginResult:
    """More exact about the network than for a delivery, where all that counts is whether to try again."""
    failure, network = failed.failure, _network_error(failed)
    return LoginResult(
        success=False,
        error=words_of(network) if network else failure.error,
        code=code_of(network) if network else failure.code,
        status_code=failure.reply_code,
        response_text=failure.reply,
    )


def _network_error(failed: DeliveryFailed) -> OSError | None:
    """What the system or TLS said before any server did."""
    cause = failed.__cause__
    while isinstance(cause, aiosmtplib.SMTPException):  # some of them are OSErrors, too
        cause = cause.__cause__
    told = failed.failure.reply_code is not None or isinstance(cause, TimeoutError)
    connecting = isinstance(cause, ssl.SSLError) or failed.failure.command == "CONN"
    return cause if isinstance(cause, OSError) and connecting and not told else None
