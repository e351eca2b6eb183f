"""Settings of the running system (contract, `settings.json`): `POST /v1/settings` changes them for all services.

Only keys whose feature exists are here: anything else is refused. Secrets are sealed in the store and never read back.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from postbus.common.accounts import Indexer
from postbus.common.proxies import parse_proxy

HEADER_NAME = r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$"  # a token (RFC 9110, 5.6.2); `*` alone is one, too
MAX_LOCAL_ADDRESSES = 1000
SECRET_SETTINGS = frozenset({"serviceSecret", "smtpServerPassword"})  # read true or false
SEALED_SETTINGS = SECRET_SETTINGS | {"proxyUrl"}  # encrypted in the store

_TRUE = frozenset({"y", "true", "1", "on"})
_FALSE = frozenset({"n", "false", "0", ""})
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_HTTP_URL: TypeAdapter[HttpUrl] = TypeAdapter(HttpUrl)


def _flag(value: Any) -> Any:
    """Booleans as the contract takes them: also Y/true/1/on and N/false/0 and nothing."""
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    return bool(value) if value in (0, 1) else value


def trimmed(value: Any) -> Any:
    """Text without what stands around it."""
    return value.strip() if isinstance(value, str) else value


def _url(value: str) -> str:
    """An absolute http or https URL, kept as it was written; nothing switches the feature off."""
    if _BLANK.search(value):  # the parser would take it away, and what is stored would still have it
        raise PydanticCustomError("uri", "must not hold spaces, line breaks or other control characters")
    try:
        _HTTP_URL.validate_python(value or "http://nothing")
    except ValidationError as error:  # its text repeats the URL, and with it a password
        raise PydanticCustomError("uri", "must be an absolute http or https URL") from error
    return value


def _ip(value: str) -> str:
    """An IP address, without a network or an interface."""
    try:
        return str(ip_address(value if "%" not in value else ""))
    except ValueError as error:
        raise PydanticCustomError("ip", "must be an IP address") from error


def proxy_url(value: str) -> str:
    """A proxy URL as it was written; nothing for none."""
    try:
        if value:
            parse_proxy(value)
    except ValueError as error:
        raise PydanticCustomError("proxy", "{reason}", {"reason": str(error)}) from error
    return value


Flag = Annotated[bool, BeforeValidator(_flag)]
ProxyUrl = Annotated[str, AfterValidator(proxy_url)]
Strategy = Literal["default", "dedicated", "random"]
EhloName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255, pattern=r"^[A-Za-z0-9.:\[\]_-]+$"),
    Field(json_schema_extra={"format": "hostname"}),
]
LocalIp = Annotated[
    str, StringConstraints(strip_whitespace=True), AfterValidator(_ip), Field(json_schema_extra={"format": "ip"})
]
LocalIps = Annotated[
    list[LocalIp],
    Field(max_length=MAX_LOCAL_ADDRESSES),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]
Url = Annotated[str, AfterValidator(_url)]


class HeaderSetting(BaseModel):
    """One header that is added to webhooks."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    key: str = Field(max_length=1024, pattern=HEADER_NAME, description="Name of the header")
    value: str = Field("", max_length=10_240, pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*$", description="Its value")


class LogSetting(BaseModel):
    """Which accounts have a log of what happens with their mail servers, and how long that gets."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    all: Flag = Field(False, description="Log for all accounts, not only for those that have `logs`")
    max_log_lines: int = Field(10_000, ge=0, le=1_000_000, description="Most lines of one account; 0 keeps none")
    accounts: list[Annotated[str, Field(max_length=256)]] = Field(
        [], max_length=1_000, description="Ids of accounts to log for, whatever these themselves say"
    )


class ServiceSettings(BaseModel):
    """All settings; None where nobody decided. `effective_*` say what then holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    webhooks_enabled: Flag | None = Field(None, description="Master switch of webhooks; on unless set to false")
    webhooks: Url | None = Field(None, description="Where events are posted; userinfo becomes Basic authentication")
    webhook_events: list[Annotated[str, Field(max_length=256)]] | None = Field(
        None, description="Events that are posted; unset or `*` means all"
    )
    webhooks_custom_headers: list[HeaderSetting] | None = Field(None, description="Headers added to every webhook")
    notify_headers: list[Annotated[str, Field(max_length=256, pattern=HEADER_NAME)]] | None = Field(
        None, description="Message headers copied into messageNew; `*` means all"
    )
    notify_text: Flag | None = Field(None, description="Put the text into messageNew; on unless set to false")
    notify_web_safe_html: Flag | None = Field(
        None, description="Make the HTML in messageNew safe to show, with its images in it"
    )
    notify_text_size: int | None = Field(None, ge=0, description="Most characters per text type in messageNew")
    service_url: Url | None = Field(None, description="Public base URL of this service")
    service_secret: str | None = Field(None, description="Key of webhook signatures; made at first start")
    auth_server: Url | None = Field(None, description="Where credentials of accounts with useAuthServer come from")
    delivery_attempts: int | None = Field(None, ge=0, description="Attempts to deliver a submission; unset: 3 days")
    imap_indexer: Annotated[Indexer, BeforeValidator(trimmed)] | None = Field(
        None, description="How accounts registered from now on are indexed; unset: full"
    )
    logs: LogSetting | None = Field(None, description="Logs of accounts; unset: of those that have `logs`")
    ignore_mail_cert_errors: Flag | None = Field(None, description="Trust any certificate of mail servers")
    proxy_enabled: Flag | None = Field(None, description="Connect to mail servers through `proxyUrl`; off unless true")
    proxy_url: ProxyUrl | None = Field(
        None,
        description="Proxy towards mail servers, of all accounts without one of their own: `http`, `https`, `socks5` "
        "(`socks` is the same), `socks4` or `socks4a`; a password in it reads `******`",
    )
    local_addresses: LocalIps | None = Field(
        None,
        description="Addresses of this machine to connect from, for the strategies `dedicated` and `random`; those "
        "that no interface has are left out, and if none is left those of the configuration count",
    )
    imap_strategy: Strategy | None = Field(
        None,
        description="Which address IMAP connections come from: `default` draws one of those of the configuration, if "
        "there are any; `random` one of `localAddresses`; `dedicated` keeps to one of them per account",
    )
    smtp_strategy: Strategy | None = Field(None, description="The same for SMTP connections")
    smtp_ehlo_name: EhloName | None = Field(
        None, description="Name to greet SMTP servers with, where neither the account nor the local address has one"
    )
    smtp_server_enabled: Flag | None = Field(
        None, description="Run the SMTP submission server; unset: as configured, else where it has a password"
    )
    smtp_server_host: LocalIp | None = Field(None, description="Address it listens on; unset: as configured")
    smtp_server_port: int | None = Field(None, ge=0, le=65535, description="Port it listens on; unset: as configured")
    smtp_server_proxy: Flag | None = Field(
        None, description="Connections to it begin with a PROXY line, as HAProxy sends it; unset: as configured"
    )
    smtp_server_auth_enabled: Flag | None = Field(
        None,
        description="Clients of it have to log in, unless set to false: then each message names its account in "
        "`X-EE-Account`, and whoever reaches the server sends as anybody",
    )
    smtp_server_password: str | None = Field(
        None, max_length=1024, description="Password of its users, who are account ids; unset: as configured"
    )
    smtp_server_tls_enabled: Flag | None = Field(
        None,
        alias="smtpServerTLSEnabled",
        description="It speaks TLS from the first byte, with the configured certificate; unset: as configured",
    )

    @property
    def effective_webhooks(self) -> str | None:
        """The global target, None while webhooks are off."""
        return self.webhooks or None if self.webhooks_enabled is not False else None

    @property
    def effective_proxy(self) -> str | None:
        """The global proxy, None while proxies are off."""
        return self.proxy_url or None if self.proxy_enabled else None

    @property
    def effective_notify_text(self) -> bool:
        """Whether messageNew carries the text."""
        return self.notify_text is not False

    @property
    def effective_notify_text_size(self) -> int:
        """Most characters per text type in messageNew."""
        return 2_097_152 if self.notify_text_size is None else self.notify_text_size

    def log_lines(self, account: str, *, wanted: bool) -> int:
        """How many lines the log of an account keeps, 0 for none; `wanted` is the account's own switch."""
        logs = self.logs or _LOGS
        return logs.max_log_lines if wanted or logs.all or account in logs.accounts else 0

    def wants_event(self, event: str) -> bool:
        """Whether the global target gets this event."""
        return self.webhook_events is None or "*" in self.webhook_events or event in self.webhook_events


_LOGS = LogSetting()
SETTING_NAMES: dict[str, str] = {(field.alias or name): name for name, field in ServiceSettings.model_fields.items()}
