"""Whether, where and how the submission server runs: settings and configuration in one value that can be compared."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from postbus.common.config import Config
from postbus.common.config_values import TlsMode
from postbus.common.service_settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a certificate and its key; `stamp` changes with them."""

    cert: Path
    key: Path | None
    implicit: bool
    stamp: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run. A `secret` of None asks nobody to log in."""

    host: str
    port: int
    secret: SecretStr | None
    proxy: bool
    max_size: int
    certificate: Certificate | None


class Unfit(ValueError):
    """The server is to run, and can't like that."""


def plan_server(config: Config, settings: ServiceSettings) -> Plan | None:
    """What is asked for, settings before configuration; None where the server does not run.

    Unfit where something is missing, OSError for files that are gone.
    """
    secret = SecretStr(settings.smtp_server_password) if settings.smtp_server_password else config.smtp_secret
    wanted = config.smtp_enabled if settings.smtp_server_enabled is None else settings.smtp_server_enabled
    if wanted is False or (wanted is None and secret is None):
        return None
    auth_required = settings.smtp_server_auth_enabled is not False
    if auth_required and secret is None:
        raise Unfit("it has no password")
    port = config.smtp_port if settings.smtp_server_port is None else settings.smtp_server_port
    return Plan(
        host=settings.smtp_server_host or config.smtp_host,
        port=port,
        secret=secret if auth_required else None,
        proxy=config.smtp_proxy if settings.smtp_server_proxy is None else settings.smtp_server_proxy,
        max_size=config.smtp_max_message_size,
        certificate=_certificate(config, settings.smtp_server_tls_enabled),
    )


def load_context(certificate: Certificate) -> ssl.SSLContext:
    """TLS for servers with this certificate. OSError, of which ssl.SSLError is one, where it can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate.cert, certificate.key)
    return context


def _certificate(config: Config, implicit: bool | None) -> Certificate | None:
    if config.smtp_tls_cert_file is None:
        if implicit:
            raise Unfit("it has no certificate (EENGINE_SMTP_TLS_CERT_FILE)")
        return None
    files = [file for file in (config.smtp_tls_cert_file, config.smtp_tls_key_file) if file]
    stamp = tuple(file.stat().st_mtime_ns for file in files)
    if implicit is None:
        implicit = config.smtp_tls is TlsMode.IMPLICIT
    return Certificate(config.smtp_tls_cert_file, config.smtp_tls_key_file, implicit, stamp)
