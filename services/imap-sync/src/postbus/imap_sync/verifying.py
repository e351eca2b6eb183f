"""Trying an IMAP login that nobody has stored, and listing its mailboxes (contract, `POST /v1/verifyAccount`)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from postbus.common.accounts import AccountRecord
from postbus.common.errors import AuthenticationFailed, BadInput, CommandRefused, PostbusError
from postbus.common.network import choose_proxy
from postbus.common.service import Parts
from postbus.common.verifying import LoginResult, LoginTest
from postbus.imap_sync.connecting import endpoint_of
from postbus.imap_sync.connection import Endpoint, ImapConnection, open_connection
from postbus.imap_sync.listed import plan_any_listing

MAX_WORDS = 1024  # characters of a server's words


@dataclass(frozen=True, slots=True)
class LoginTester:
    """Connects as the sync would, once."""

    parts: Parts

    async def attempt(self, test: LoginTest, limit_s: float) -> LoginResult:
        """Try within `limit_s`. What goes wrong at the server is the result, not an error."""
        loop = asyncio.get_running_loop()
        until = loop.time() + limit_s
        try:
            connection = await open_connection(self._endpoint(test), test.credentials, deadline_s=limit_s)
        except PostbusError as error:
            return failed(error)
        try:
            async with asyncio.timeout_at(until):
                found = await _list(connection, test) if test.mailboxes else None
        except (PostbusError, TimeoutError):  # the login is what was asked for, and it works
            found = None
        finally:
            connection.abort()
        return LoginResult(success=True, mailboxes=found)

    def _endpoint(self, test: LoginTest) -> Endpoint:
        imap = test.imap
        if imap is None:
            raise BadInput("not a `verify` command")
        return endpoint_of(self.parts, imap, test.login, choose_proxy(self.parts, test.proxy))


def failed(error: PostbusError) -> LoginResult:
    """The result for what went wrong: the server's code where it has one, else the kind of failure."""
    code, words = error.code, None
    if isinstance(error, AuthenticationFailed):
        code = AuthenticationFailed.code if code in ("NO", "BAD") else code
        words = error.message
    elif isinstance(error.__cause__, CommandRefused):
        words = error.message
    return LoginResult(
        success=False, error=error.message[:MAX_WORDS], code=code, response_text=words and words[:MAX_WORDS]
    )


async def _list(connection: ImapConnection, test: LoginTest) -> list[dict[str, Any]]:
    """The mailboxes as they would be stored."""
    listed = await connection.list_mailboxes(with_status=False)
    plan = await plan_any_listing({}, listed, AccountRecord(account="", imap=test.imap))
    return [row.model_dump(by_alias=True, exclude_none=True) for row in plan.new]
