"""One attempt to deliver a submission through its account's SMTP server; what became of it is a value."""

from __future__ import annotations

from dataclasses import dataclass, field

from postbus.common.accounts import Account, ServerSettings
from postbus.common.credentials import Credentials, load_credentials
from postbus.common.errors import AuthenticationFailed, PostbusError, Unavailable
from postbus.common.jobs import Submission
from postbus.common.mime.compose import wire_address
from postbus.common.network import choose_local_address, load_proxy
from postbus.common.proxies import Proxy
from postbus.common.secrets import SecretUnreadable
from postbus.common.service import Parts
from postbus.common.store import keys
from postbus.common.store.client import store_errors
from postbus.sender.content import Content
from postbus.sender.conversation import Conversation
from postbus.sender.greeting import ehlo_name
from postbus.sender.opening import open_session
from postbus.sender.outcome import CLOSING, Accepted, DeliveryFailed, Failure, Route
from postbus.sender.phases import Phases
from postbus.sender.pool import MAX_IDLE_PER_LOGIN, Login, Pool
from postbus.sender.session import Mail, Server, Session, Timeouts
from postbus.sender.tls import tls_context

CREDENTIALS_DEADLINE_S = 30.0
MAX_STALE = MAX_IDLE_PER_LOGIN + 2  # connections of one attempt that turn out to be closed by the server


@dataclass(slots=True)
class Deliverer:
    """Delivers, over connections that are kept for a while."""

    parts: Parts
    timeouts: Timeouts = field(default_factory=Timeouts)
    pool: Pool = field(default_factory=Pool)

    async def choose_route(self, account: Account, submission: Submission) -> tuple[Server, Route | None]:
        """The server to go to and the way there. DeliveryFailed when the account has none."""
        smtp = account.record.smtp
        if smtp is None:
            raise DeliveryFailed(Failure(error="The account has no SMTP server", code="EENVELOPE"))
        proxy = await self._proxy(account, submission)
        ehlo, wish = account.record.smtp_ehlo_name, submission.local_address
        return self.choose_server(smtp, ehlo, proxy, login=account.token, wish=wish)

    def choose_server(
        self, smtp: ServerSettings, ehlo: str | None, proxy: Proxy | None, *, login: str, wish: str | None = None
    ) -> tuple[Server, Route | None]:
        """The same for what no account has, or not yet."""
        settings = self.parts.settings.current
        local = choose_local_address(self.parts, "smtp", login, wish=wish) if proxy is None else None
        name = ehlo_name(ehlo, local.hostname if local else None, settings.smtp_ehlo_name)
        trust_all = bool(settings.ignore_mail_cert_errors)
        context = tls_context(smtp.tls, trust_all=trust_all)
        server = Server(smtp.host, smtp.port, smtp.secure, context, name, local.ip if local else None, proxy)
        if proxy is not None:
            return server, Route(proxy=proxy.shown, name=name, requested_local_address=wish)
        if local is None and wish is None:
            return server, None
        return server, Route(local_address=local.ip if local else None, name=name, requested_local_address=wish)

    async def deliver(
        self, account: Account, submission: Submission, inline: bytes, server: Server, phases: Phases
    ) -> Accepted:
        """Try once. DeliveryFailed when nobody got it; Unavailable, before anything was sent, when a part is away."""
        content = await Content.open(self.parts.bus, submission, inline)
        mail = _mail(submission, content)
        credentials = await self._credentials(account)
        talk = Conversation.of(self.parts, account, submission.queue_id)
        try:
            try:
                return await self._send(account, server, credentials, mail, phases, talk)
            except DeliveryFailed as failed:
                if failed.failure.command != "AUTH" or not await self._forget_fetched(account):
                    raise
            # A token that was fetched earlier may have ended since: once more with a fresh one.
            return await self._send(account, server, await self._credentials(account), mail, phases, talk)
        except DeliveryFailed as failed:
            talk.failed(failed)
            raise
        finally:
            await talk.close()

    async def _send(
        self,
        account: Account,
        server: Server,
        credentials: Credentials | None,
        mail: Mail,
        phases: Phases,
        talk: Conversation,
    ) -> Accepted:
        login = Login.of(account.token, server, credentials)

        async def open_new() -> Session:
            return await talk.opening(server, lambda: open_session(server, credentials, self.timeouts))

        for _ in range(MAX_STALE):
            async with self.pool.session(login, open_new) as session:
                reused = session.messages > 0
                try:
                    accepted = await session.send(mail, phases.enter_data)
                    talk.accepted(accepted, reused=reused)
                    return accepted
                except DeliveryFailed as failed:
                    if not (reused and _went_stale(failed.failure)):
                        raise
        raise DeliveryFailed(Failure(error="The server closes its connections early", code="ECONNECTION"))

    async def _credentials(self, account: Account) -> Credentials | None:
        try:
            return await load_credentials(self.parts, account, "smtp", deadline_s=CREDENTIALS_DEADLINE_S)
        except AuthenticationFailed as error:
            # HTTPRequestError: no mail server has refused anything, an auth server answered badly, perhaps for once.
            code = error.code if error.code in ("ENOAUTH", "HTTPRequestError") else "EAUTH"
            raise DeliveryFailed(Failure(error=error.message, code=code)) from error
        except SecretUnreadable as error:
            raise DeliveryFailed(Failure(error="The stored password can't be read", code="ENOAUTH")) from error
        except Unavailable:
            raise
        except PostbusError as error:  # the auth server is away: an attempt that failed, like an MTA that is away
            raise DeliveryFailed(Failure(error=error.message, code="ECONNECTION")) from error

    async def _proxy(self, account: Account, submission: Submission) -> Proxy | None:
        try:
            return await load_proxy(self.parts, account, asked=submission.proxy)
        except SecretUnreadable as error:
            raise DeliveryFailed(Failure(error="The stored proxy can't be read", code="EPROXY")) from error

    async def _forget_fetched(self, account: Account) -> bool:
        """Drop credentials of an external auth server; False when there were none."""
        if account.record.smtp is None or not account.record.smtp.use_auth_server:
            return False
        async with store_errors():
            return bool(await self.parts.redis.delete(keys.credentials(account.token, "smtp")))


def _went_stale(failure: Failure) -> bool:
    """Whether the server had left a kept connection: nothing was begun on it, so that is no failed attempt."""
    return failure.command == "MAIL FROM" and failure.reply_code in (None, CLOSING)


def _mail(submission: Submission, content: Content) -> Mail:
    """The submission for the wire. DeliveryFailed for an address that can't travel."""
    try:
        sender = wire_address(submission.envelope.sender) if submission.envelope.sender else ""
        recipients = tuple(map(wire_address, submission.envelope.recipients))
    except ValueError as error:
        raise DeliveryFailed(Failure(error=f"An address {error}", code="EENVELOPE")) from error
    if not recipients:
        raise DeliveryFailed(Failure(error="No recipients", code="EENVELOPE"))
    utf8 = not (sender.isascii() and all(map(str.isascii, recipients)) and content.header_is_ascii)
    return Mail(sender, recipients, submission.size, utf8, content.pieces())
