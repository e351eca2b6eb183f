"""A scripted credential server: answers `GET authServer?account=ID&proto=imap|smtp|api` as a test tells it to."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.servers.http_server import RecordingHttpServer


@dataclass(frozen=True, slots=True)
class CredentialAnswer:
    """The answer to one question: JSON, or a raw body to answer something else."""

    credentials: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    delay_s: float = 0.0
    raw_body: str | None = None  # instead of the credentials as JSON


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """One question as it came in; header names in lower case."""

    account: str
    proto: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def authorization(self) -> str | None:
        """The Authorization header, from the userinfo of the configured URL."""
        return self.headers.get("authorization")


class AuthServer(RecordingHttpServer[CredentialRequest]):
    """Answers by account and protocol; 404 for accounts nobody told it about."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self._answers: dict[tuple[str, str | None], CredentialAnswer] = {}

    @property
    def url(self) -> str:
        """Value for the setting authServer."""
        return f"{self.base_url}/credentials"

    def url_with_login(self, user: str, password: str) -> str:
        """The URL with userinfo, which a client turns into Basic authentication."""
        return self.url.replace("://", f"://{user}:{password}@", 1)

    def give(self, account: str, answer: CredentialAnswer, proto: str | None = None) -> None:
        """Set the answer for an account: for one protocol, or for all that have none of their own."""
        self._answers[account, proto] = answer

    def give_password(self, account: str, user: str, password: str) -> None:
        """Answer with a login and its password, for every protocol."""
        self.give(account, CredentialAnswer({"user": user, "pass": password}))

    def give_access_token(self, account: str, user: str, access_token: str) -> None:
        """Answer with a login and an OAuth2 access token, for every protocol."""
        self.give(account, CredentialAnswer({"user": user, "accessToken": access_token}))

    def asked(self, account: str, proto: str | None = None) -> list[CredentialRequest]:
        """The questions about an account so far."""
        return [r for r in self.requests if r.account == account and proto in (None, r.proto)]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Record one question and answer it."""
        asked = CredentialRequest(
            account=request.query.get("account", ""),
            proto=request.query.get("proto", ""),
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
        )
        await self.record(asked)
        answer = self._answers.get((asked.account, asked.proto)) or self._answers.get((asked.account, None))
        if answer is None:
            return web.json_response({"error": "no such account"}, status=404)
        await asyncio.sleep(answer.delay_s)
        if answer.raw_body is not None:
            return web.Response(status=answer.status, text=answer.raw_body)
        return web.json_response(dict(answer.credentials), status=answer.status)
