"""The configuration a process starts with: every name the README lists, read once in `main()` and passed on.

What may change while the system runs are settings, kept in the store; see `postbus.common.config_sources` for where
the values here come from and what wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from postbus.common.config_sources import Given, Option, Sources, read_sources
from postbus.common.config_values import (
    MAX_WORKERS,
    Auth,
    Duration,
    HttpUrl,
    Level,
    LocalAddresses,
    LogLevel,
    NatsUrl,
    Port,
    RedisUrl,
    SettingsText,
    Size,
    TlsMode,
    Workers,
    parse_local_addresses,
)
from postbus.common.errors import PostbusError
from postbus.common.units import compose_duration, compose_size

DEFAULT_REDIS = "redis://127.0.0.1:6379/8"
DEFAULT_NATS = "nats://127.0.0.1:4222"

_FILES = ("secret_file", "nats_ca_file", "nats_credentials_file", "smtp_tls_cert_file", "smtp_tls_key_file")


class ConfigError(PostbusError):
    """The configuration can't be used; `problems` lists everything that is wrong with it, one line each."""

    code = "ConfigError"

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Config(BaseSettings):
    """What one process has to know to start. Built by `load_config`; by itself it reads nothing from outside."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    workers_imap: Annotated[Workers, Option("EENGINE_WORKERS", "--workers.imap")] = Field(
        4, ge=1, le=MAX_WORKERS, description="processes that keep the IMAP accounts in sync, or the word `cpus`"
    )
    redis: Annotated[RedisUrl | None, Option("EENGINE_REDIS", "--dbs.redis")] = Field(
        None,
        repr=False,
        description="Redis or Valkey: `redis://`, `rediss://` or `unix://`. "
        f"Unset: embedded with `postbus up`, else `{DEFAULT_REDIS}`",
    )
    nats: Annotated[NatsUrl | None, Option("EENGINE_NATS", "--dbs.nats")] = Field(
        None,
        repr=False,
        description=f"NATS server: `nats://` or `tls://`. Unset: embedded with `postbus up`, else `{DEFAULT_NATS}`",
    )
    nats_ca_file: Annotated[Path | None, Option("EENGINE_NATS_CA_FILE")] = Field(
        None, description="certificates (PEM) to trust for `tls://` servers of NATS, instead of the system's"
    )
    nats_credentials_file: Annotated[Path | None, Option("EENGINE_NATS_CREDENTIALS_FILE")] = Field(
        None, description="credentials to log in to NATS with, as `nsc` writes them"
    )
    data_dir: Annotated[Path, Option("EENGINE_DATA_DIR", "--service.dataDir")] = Field(
        Path("data"), description="directory of the embedded servers, and of `keys.json` where there is no other secret"
    )
    settings: Annotated[SettingsText | None, Option("EENGINE_SETTINGS", "--settings")] = Field(
        None, repr=False, description="prepared settings: a JSON object, written into the settings at start"
    )
    secret: Annotated[SecretStr | None, Option("EENGINE_SECRET", "--service.secret")] = Field(
        None,
        description="what stored credentials are encrypted with: a passphrase, or a JSON object that is a key ring",
    )
    secret_file: Annotated[Path | None, Option("EENGINE_SECRET_FILE")] = Field(
        None, description="file that holds the secret instead; read again each minute, so keys can be rotated"
    )
    local_addresses: Annotated[LocalAddresses, Option("EENGINE_ADDRESSES", "--service.localAddresses")] = Field(
        [], description="addresses to connect from, `ip` or `ip|hostname`, separated by commas; one is drawn at random"
    )
    command_timeout: Annotated[Duration, Option("EENGINE_TIMEOUT", "--service.commandTimeout")] = Field(
        timedelta(seconds=10), description="how long an API request may wait for a mail server; 504 after it"
    )
    log_level: Annotated[Level, Option("EENGINE_LOG_LEVEL", "--log.level")] = Field(
        LogLevel.INFO, description="`trace`, `debug`, `info`, `warn`, `error` or `fatal`"
    )
    host: Annotated[str, Option("EENGINE_HOST", "--api.host")] = Field(
        "127.0.0.1", min_length=1, description="address the API listens on"
    )
    port: Annotated[Port, Option("EENGINE_PORT", "--api.port")] = Field(
        3000, ge=0, le=65535, description="port the API listens on"
    )
    max_size: Annotated[Size, Option("EENGINE_MAX_SIZE", "--api.maxSize")] = Field(
        5 * 1024**2,
        description="limit of each text, HTML, attachment or raw message in a request, as it is written there",
    )
    max_body_size: Annotated[Size, Option("EENGINE_MAX_BODY_SIZE", "--api.maxBodySize")] = Field(
        50 * 1024**2, description="limit of the body of a request that submits or uploads a message"
    )
    auth: Annotated[Auth | None, Option("EENGINE_AUTH", "--api.auth")] = Field(
        None, description="`user:password` that every HTTP request has to show, but for `/health`"
    )
    webhook_timeout: Annotated[Duration, Option("EENGINE_WEBHOOK_TIMEOUT")] = Field(
        timedelta(seconds=30), description="limit of one attempt to deliver a webhook"
    )
    smtp_secret: Annotated[SecretStr | None, Option("EENGINE_SMTP_SECRET", "--smtp.secret")] = Field(
        None, description="password of the SMTP submission server, which runs when this is set; users are account ids"
    )
    smtp_enabled: Annotated[bool | None, Option("EENGINE_SMTP_ENABLED", "--smtp.enabled", flag=True)] = Field(
        None, description="run the SMTP submission server, or not; unset: when it has a password"
    )
    smtp_host: Annotated[str, Option("EENGINE_SMTP_HOST", "--smtp.host")] = Field(
        "127.0.0.1", min_length=1, description="address the SMTP submission server listens on"
    )
    smtp_port: Annotated[Port, Option("EENGINE_SMTP_PORT", "--smtp.port")] = Field(
        2525, ge=0, le=65535, description="port the SMTP submission server listens on"
    )
    smtp_proxy: Annotated[bool, Option("EENGINE_SMTP_PROXY", "--smtp.proxy", flag=True)] = Field(
        False, description="connections to the SMTP submission server begin with a PROXY line, as HAProxy sends it"
    )
    smtp_max_message_size: Annotated[Size, Option("EENGINE_MAX_SMTP_MESSAGE_SIZE", "--smtp.maxMessageSize")] = Field(
        25 * 1024**2, description="limit of a message on the SMTP submission server"
    )
    smtp_tls: Annotated[TlsMode, Option("EENGINE_SMTP_TLS")] = Field(
        TlsMode.STARTTLS,
        description="how the SMTP submission server uses its certificate: `starttls` or `implicit`; without one it "
        "speaks no TLS, with one it takes no password without TLS",
    )
    smtp_tls_cert_file: Annotated[Path | None, Option("EENGINE_SMTP_TLS_CERT_FILE")] = Field(
        None, description="certificate (PEM, with its chain) of the SMTP submission server"
    )
    smtp_tls_key_file: Annotated[Path | None, Option("EENGINE_SMTP_TLS_KEY_FILE")] = Field(
        None, description="private key of that certificate, unless it is in the same file"
    )
    vault_addr: Annotated[HttpUrl | None, Option("VAULT_ADDR")] = Field(
        None, description="Vault or OpenBao server that keeps the secret; the four below belong to it"
    )
    vault_role_id: Annotated[str | None, Option("VAULT_ROLE_ID")] = Field(None, description="AppRole to log in with")
    vault_secret_id: Annotated[SecretStr | None, Option("VAULT_SECRET_ID")] = Field(
        None, description="secret id of the AppRole"
    )
    vault_path: Annotated[str | None, Option("VAULT_PATH")] = Field(
        None, description="where the secret is, in a KV engine of version 2: `secret/data/email/encryption`"
    )
    vault_key: Annotated[str, Option("VAULT_KEY")] = Field("secret", description="key inside that secret")
    otlp_endpoint: Annotated[HttpUrl | None, Option("OTEL_EXPORTER_OTLP_ENDPOINT")] = Field(
        None, description="OTLP/HTTP collector for traces. Unset: no tracing"
    )
    warnings: tuple[str, ...] = Field((), description="what is odd about the configuration, for the log")

    @property
    def redis_or_default(self) -> str:
        """The store of a service that runs by itself."""
        return self.redis or DEFAULT_REDIS

    @property
    def nats_or_default(self) -> str:
        """The bus of a service that runs by itself."""
        return self.nats or DEFAULT_NATS

    @property
    def given_data_dir(self) -> Path | None:
        """The data directory, if somebody named one: only there may a key file be made."""
        return self.data_dir if "data_dir" in self.model_fields_set else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only arguments: `read_sources` reads what is outside, in the documented order, all problems in one list."""
        return (init_settings,)


def load_config(argv: Sequence[str], environ: Mapping[str, str], cwd: Path) -> Config:
    """Read the configuration of a process; ConfigError with everything that is wrong with it.

    `argv` is without the name of the program or a subcommand. Paths in it are relative to `cwd`.
    """
    sources = read_sources(_options(), argv, environ, cwd)
    values = {name: given.value for name, given in sources.given.items()}
    for name in values.keys() & {"data_dir", *_FILES}:
        values[name] = cwd / str(values[name])
    values["warnings"] = (*sources.warnings, *_dropped_addresses(sources.given.get("local_addresses")))
    config = _validate(values, sources)
    sources.problems += [f"{sources.given[name].label}: {problem}" for name, problem in _misfits(config, sources.given)]
    if sources.problems:
        raise ConfigError(sources.problems)
    return config


def config_table() -> str:
    """The table of the README: variable, option, default, meaning, in Markdown."""
    lines = ["| variable | command line | default | meaning |", "|---|---|---|---|"]
    for name, option in _options().items():
        field = Config.model_fields[name]
        cli = f"`{option.cli}`" if option.cli else ""
        description = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{option.env}` | {cli} | {_shown_default(field)} | {description} |")
    return "\n".join(lines) + "\n"


def _options() -> dict[str, Option]:
    """The fields that can be given from outside, in the order of the class."""
    return {
        name: option
        for name, field in Config.model_fields.items()
        for option in field.metadata
        if isinstance(option, Option)
    }


def _dropped_addresses(given: Given | None) -> Iterator[str]:
    text = ",".join(given.value) if given and isinstance(given.value, list) else given.value if given else ""
    for entry in parse_local_addresses(str(text))[1]:
        yield f"EENGINE_ADDRESSES: {entry} is dropped, it is not an IP address"


def _validate(values: dict[str, Any], sources: Sources) -> Config:
    """The configuration without the values that can't be used; each of these becomes a problem."""
    try:
        return Config(**values)
    except ValidationError as error:
        wrong = {str(problem["loc"][0]): _in_our_words(problem["msg"]) for problem in error.errors()}
    sources.problems += [f"{sources.given[name].label}: {message}" for name, message in wrong.items()]
    return Config(**{name: value for name, value in values.items() if name not in wrong})


def _in_our_words(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "has to be")


def _misfits(config: Config, given: Mapping[str, Given]) -> Iterator[tuple[str, str]]:
    """Values that are fine alone and wrong together, or with this version: field and problem."""
    if config.smtp_tls_key_file and not config.smtp_tls_cert_file:
        yield "smtp_tls_key_file", "needs EENGINE_SMTP_TLS_CERT_FILE too"
    if "smtp_tls" in given and not config.smtp_tls_cert_file:
        yield "smtp_tls", "needs EENGINE_SMTP_TLS_CERT_FILE too"
    if config.secret and config.secret_file:
        yield "secret_file", f"{given['secret'].label} is set as well; keep one of them"
    for name in _FILES:
        if name in given and not getattr(config, name).is_file():
            yield name, f"{getattr(config, name)} is not a file"
    missing = [name for name in ("vault_role_id", "vault_secret_id", "vault_path") if name not in given]
    if config.vault_addr and missing:
        yield "vault_addr", f"needs {', '.join(name.upper() for name in missing)} too"


def _shown_default(field: FieldInfo) -> str:
    default: Any = field.default
    match default:
        case None | []:
            return ""
        case timedelta():
            return f"`{compose_duration(default)}`"
        case bool():
            return f"`{str(default).lower()}`"
        case int() if default >= 1024**2:
            return f"`{compose_size(default)}`"
        case Path():
            return f"`./{default}`"
        case _:
            return f"`{default}`"
