"""Accounts as clients write them (contract, sections 1, 4 and 35)."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from postbus.api.schemas.fields import (
    ONE_OR_MORE_TEXTS,
    Given,
    GivenOrFalse,
    HostName,
    Input,
    InstantInput,
    Line,
    MailAddress,
    MailboxPath,
    Name,
    PortNumber,
    ProxyInput,
    WebUrl,
    single_line,
)
from postbus.common.accounts import Indexer
from postbus.common.service_settings import trimmed
from postbus.common.times import now

MAX_ACCOUNT_CHARS = 256
MAX_PATHS = 1000
MAX_SUBCONNECTIONS = 100
MAX_HEADERS = 100

EXAMPLE_LOGINS: dict[str, Any] = {
    side: {"auth": {"user": "kaarel", "pass": "secret"}, "host": f"{side}.example.com", "port": port, "secure": True}
    for side, port in (("imap", 993), ("smtp", 465))
}

LOGS = "Keep a log of what happens between the account and its mail servers, without secrets and contents"

Path = Annotated[MailboxPath, Field(description="A mailbox path, or a special use such as `\\Sent`")]
Subconnection = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    AfterValidator(single_line),
    Field(description="A mailbox path, or a special use such as `\\Sent`"),
]
IndexerInput = Annotated[Indexer, BeforeValidator(trimmed)]
HeaderName = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=1024, pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
]
HeaderValue = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=10_240, pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*$")
]
EhloName = Annotated[HostName, Field(pattern=r"^[A-Za-z0-9.:\[\]_-]+$")]


def _moment(value: Any) -> Any:
    """The word `now`, or a date."""
    return now() if value == "now" else value


Moment = Annotated[InstantInput, BeforeValidator(_moment)]


class AuthInput(Input):
    """A login: user and either a password or an OAuth2 access token."""

    user: Annotated[Line, Field(max_length=256, min_length=1)] = Field(
        description="User name", examples=["kaarel@example.com"]
    )
    pass_: Given[Annotated[Line, Field(max_length=256)]] = Field(
        None, alias="pass", description="Password; `******` keeps the stored one", examples=["correct horse"]
    )
    access_token: GivenOrFalse[Annotated[Line, Field(max_length=16_384)]] = Field(
        None, description="OAuth2 access token instead of a password; `false` for none"
    )

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.pass_ is not None and self.access_token:
            raise PydanticCustomError("secrets", "only one of pass and accessToken is allowed")
        return self


class TlsInput(Input):
    """How far the certificate and the protocol version of a server are trusted."""

    reject_unauthorized: bool = Field(True, description="Refuse certificates that can't be verified")
    min_version: Given[Annotated[str, Field(max_length=256, pattern=r"^TLSv1(\.[1-3])?$")]] = Field(
        None, description="Oldest protocol version to accept", examples=["TLSv1.2"]
    )


class TlsChange(Input):
    """Changes of the TLS options."""

    reject_unauthorized: Given[bool] = Field(None, description="Refuse certificates that can't be verified")
    min_version: Given[Annotated[str, Field(max_length=256, pattern=r"^TLSv1(\.[1-3])?$")]] = Field(
        None, description="Oldest protocol version to accept", examples=["TLSv1.2"]
    )


class _Login(Input):
    """How to log in, for both protocols."""

    auth: GivenOrFalse[AuthInput] = Field(None, description="The login; `false` or nothing with `useAuthServer`")
    use_auth_server: Given[bool] = Field(
        None, description="Ask the server of the setting `authServer` for the login each time it is needed"
    )

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        if self.auth and self.use_auth_server:
            raise PydanticCustomError("login", "only one of auth and useAuthServer is allowed")
        return self


class _ImapOptions(_Login):
    resync_delay: Annotated[int, Field(ge=1, le=86_400)] = Field(
        900, description="Seconds between full comparisons with the server"
    )
    disabled: Given[bool] = Field(None, description="Keep the settings, but do not connect")
    disable_imap4rev2: Given[bool] = Field(
        None, alias="disableIMAP4rev2", description="Use IMAP4rev1, as is done in any case: IMAP4rev2 is never enabled"
    )
    sent_mail_path: MailboxPath | None = Field(None, description="Mailbox for sent messages, over what is detected")
    drafts_mail_path: MailboxPath | None = Field(None, description="Mailbox for drafts, over what is detected")
    junk_mail_path: MailboxPath | None = Field(None, description="Mailbox for junk, over what is detected")
    trash_mail_path: MailboxPath | None = Field(None, description="Mailbox for deleted messages, over what is detected")
    archive_mail_path: MailboxPath | None = Field(None, description="Mailbox for the archive, over what is detected")


class ImapInput(_ImapOptions):
    """The IMAP side of an account."""

    model_config = ConfigDict(title="Imap")

    host: Given[HostName] = Field(None, description="Host name", examples=["imap.example.com"])
    port: Given[PortNumber] = Field(None, description="Port", examples=[993])
    secure: bool = Field(False, description="TLS from the start; else STARTTLS where the server offers it")
    tls: Given[TlsInput] = Field(None, description="TLS options")


class SmtpInput(_Login):
    """The SMTP side of an account. `auth: false` sends without a login."""

    model_config = ConfigDict(title="Smtp")

    host: HostName = Field(description="Host name", examples=["smtp.example.com"])
    port: PortNumber = Field(description="Port", examples=[465])
    secure: bool = Field(False, description="TLS from the start; else STARTTLS where the server offers it")
    tls: Given[TlsInput] = Field(None, description="TLS options")


class ImapChange(_ImapOptions):
    """Changes of the IMAP side."""

    partial: bool = Field(False, description="Change only what is given; else this replaces all IMAP settings")
    host: Given[HostName] = Field(None, description="Host name")
    port: Given[PortNumber] = Field(None, description="Port")
    secure: Given[bool] = Field(None, description="TLS from the start; else STARTTLS where the server offers it")
    tls: Given[TlsChange] = Field(None, description="TLS options")
    resync_delay: Given[Annotated[int, Field(ge=1, le=86_400)]] = Field(  # type: ignore[assignment]
        None, description="Seconds between full comparisons with the server"
    )


class SmtpChange(_Login):
    """Changes of the SMTP side."""

    partial: bool = Field(False, description="Change only what is given; else this replaces all SMTP settings")
    host: Given[HostName] = Field(None, description="Host name")
    port: Given[PortNumber] = Field(None, description="Port")
    secure: Given[bool] = Field(None, description="TLS from the start; else STARTTLS where the server offers it")
    tls: Given[TlsChange] = Field(None, description="TLS options")


class HeaderInput(Input):
    """A header that is added to the webhooks of an account."""

    key: HeaderName = Field(description="Name", examples=["X-Tenant"])
    value: HeaderValue = Field("", description="Value; `******` keeps the stored one", examples=["42"])


class _AccountFields(Input):
    email: Given[MailAddress] = Field(
        None, description="Address of the account, default sender of its messages", examples=["kaarel@example.com"]
    )
    path: Annotated[list[Path], Field(max_length=MAX_PATHS), ONE_OR_MORE_TEXTS] | None = Field(
        None, description="Mailboxes to watch; `*`, null or nothing for all. The others stay readable", examples=[["*"]]
    )
    subconnections: Given[Annotated[list[Subconnection], Field(max_length=MAX_SUBCONNECTIONS), ONE_OR_MORE_TEXTS]] = (
        Field(
            None,
            description="Mailboxes with a connection of their own, seen to at once. Mail servers allow few of them",
            examples=[["\\Sent"]],
        )
    )
    webhooks: Given[WebUrl] = Field(
        None, description="Where events of this account are posted instead of the global target"
    )
    webhooks_custom_headers: Given[Annotated[list[HeaderInput], Field(max_length=MAX_HEADERS)]] = Field(
        None, description="Headers added to the webhooks of this account"
    )
    copy_: bool | None = Field(
        None, alias="copy", description="Put a copy of sent messages into the mailbox for sent messages; null: decide"
    )
    smtp_ehlo_name: EhloName | None = Field(None, description="Name to greet SMTP servers with")
    proxy: ProxyInput | None = Field(
        None,
        description="Proxy towards the mail servers of this account, instead of the global one: `http`, `https`, "
        "`socks5` (`socks` is the same), `socks4` or `socks4a`; empty or null for none of its own",
        examples=["socks5://user:secret@proxy.example.com:1080"],
    )


class AccountInput(_AccountFields):
    """An account to register, or to change if the id is known."""

    model_config = ConfigDict(
        title="Account",
        json_schema_extra={
            "examples": [
                {
                    "account": "example",
                    "name": "Kaarel Karu",
                    "email": "kaarel@example.com",
                    **EXAMPLE_LOGINS,
                }
            ]
        },
    )

    account: (
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_ACCOUNT_CHARS)] | None
    ) = Field(description="Id of the account, any text; null makes one", examples=["example"])
    name: Name = Field(description="Name of the owner, as recipients see it", examples=["Kaarel Karu"])
    notify_from: Moment | None = Field(
        None,
        description="Messages older than this raise no messageNew; registration time if not given",
        json_schema_extra={"default": "now", "format": "date-time"},
    )
    imap_indexer: IndexerInput | None = Field(
        None,
        description="`full` tells of every change, `fast` of new mail only; the setting if not given",
    )
    logs: bool = Field(False, description=LOGS)
    imap: GivenOrFalse[ImapInput] = Field(None, description="The IMAP side; `false` for none")
    smtp: GivenOrFalse[SmtpInput] = Field(None, description="The SMTP side; `false` for none")


class AccountChange(_AccountFields):
    """Changes of an account; what is not given stays."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Kaarel K.", "smtp": {"partial": True, "port": 587}}]}
    )

    name: Given[Name] = Field(None, description="Name of the owner, as recipients see it")
    notify_from: Moment | None = Field(None, description="Messages older than this raise no messageNew")
    logs: Given[bool] = Field(None, description=LOGS)
    imap: GivenOrFalse[ImapChange] = Field(None, description="The IMAP side; `false` removes it")
    smtp: GivenOrFalse[SmtpChange] = Field(None, description="The SMTP side; `false` removes it")


class AccountQuery(Input):
    """What to tell of an account."""

    quota: bool = Field(False, description="Ask the mail server how much it stores and may store")


class SyncInput(Input):
    """Whether to sync."""

    sync: bool = Field(False, description="Compare all that is known with the mail server", examples=[True])


class ReconnectInput(Input):
    """Whether to reconnect."""

    reconnect: bool = Field(False, description="Drop the connections and start again", examples=[True])
