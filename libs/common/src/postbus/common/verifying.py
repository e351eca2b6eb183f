"""Trying a login for somebody who asks the API: what is tried travels sealed, and is kept nowhere.

The API seals all of it, servers as well as secrets, for one request: nobody on the bus is able to read a password, or
to have it sent to another server. Whoever of the service takes the request opens it, tries, answers and forgets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import uuid4

from nats.aio.msg import Msg
from pydantic import Field, ValidationError

from postbus.common.accounts import ImapSettings, Protocol, SmtpSettings, Stored
from postbus.common.bus import rpc
from postbus.common.commands import VerifyLogin, verify_subject
from postbus.common.credentials import Credentials
from postbus.common.errors import BadInput, Unavailable
from postbus.common.secrets import Secrets
from postbus.common.service import Parts

MAX_AT_ONCE: Final = 64  # logins that one process tries at the same time
LONGEST_S: Final = 60.0  # for one login, whatever the caller allows
HEADROOM: Final = 64 * 1024  # bytes of an answer's headers
ANSWER_S: Final = 0.5  # of the caller's time is left for the answer: a server that hangs is an answer, too


class LoginTest(Stored):
    """One login to try. `proxy` None: the global one counts. Without user nobody logs in."""

    imap: ImapSettings | None = None
    smtp: SmtpSettings | None = None
    password: str | None = Field(None, repr=False)
    access_token: str | None = Field(None, repr=False)
    proxy: str | None = Field(None, repr=False)
    ehlo_name: str | None = None
    mailboxes: bool = False

    @property
    def login(self) -> str:
        """Whose connection it is, where there is no account."""
        server = self.imap or self.smtp
        return f"{server.user}@{server.host}" if server else ""

    @property
    def credentials(self) -> Credentials | None:
        """Who logs in."""
        server = self.imap or self.smtp
        if server is None or server.user is None:
            return None
        return Credentials(server.user, None if self.access_token else self.password, self.access_token)


class LoginResult(Stored):
    """How it went: `code` for programs, `error` for people, `response_text` the server's own words."""

    success: bool
    error: str | None = None
    code: str | None = None
    status_code: int | None = None
    response_text: str | None = None
    mailboxes: list[dict[str, Any]] | None = None


Try = Callable[[LoginTest, float], Awaitable[LoginResult]]


def seal_test(secrets: Secrets, proto: Protocol, test: LoginTest) -> VerifyLogin:
    """The test as it may travel, and no other request can use it."""
    request_id = uuid4().hex
    return VerifyLogin(
        id=request_id,
        sealed=secrets.seal(test.model_dump_json(by_alias=True), account=request_id, field=f"verify.{proto}"),
    )


def compose_answer(result: LoginResult, max_size: int) -> bytes:
    """The result as it travels; without mailboxes where there are more than the bus takes: the login still counts."""
    packed = result.model_dump_json(by_alias=True, exclude_none=True).encode()
    if len(packed) <= max_size:
        return packed
    return result.model_copy(update={"mailboxes": None}).model_dump_json(by_alias=True, exclude_none=True).encode()


async def open_test(secrets: Secrets, proto: Protocol, payload: bytes) -> LoginTest:
    """What a request asks to try; BadInput, SecretUnreadable."""
    try:
        command = VerifyLogin.model_validate_json(payload)
        plain = await secrets.open(command.sealed, account=command.id, field=f"verify.{proto}")
        return LoginTest.model_validate_json(plain)
    except ValidationError:
        raise BadInput("not a `verify` command") from None  # the cause would carry the secrets


@asynccontextmanager
async def serving_tests(parts: Parts, proto: Protocol, attempt: Try) -> AsyncIterator[None]:
    """Try logins for others meanwhile, one of several replicas each; more than MAX_AT_ONCE of them are refused."""
    running = 0

    async def answer(message: Msg, left_s: float) -> None:
        nonlocal running
        if running >= MAX_AT_ONCE:
            raise Unavailable("Too many logins are being verified", code="TooManyVerifications")
        running += 1
        try:
            test = await open_test(parts.secrets, proto, message.data)
            result = await attempt(test, min(max(left_s - ANSWER_S, left_s * 0.8), LONGEST_S))
        finally:
            running -= 1
        await rpc.bus_respond(message, compose_answer(result, parts.bus.nc.max_payload - HEADROOM), {})

    subscription = await rpc.serve_messages(parts.bus, verify_subject(proto), answer, queue=f"verify-{proto}")
    try:
        yield
    finally:
        if parts.bus.connected:
            await subscription.unsubscribe()
