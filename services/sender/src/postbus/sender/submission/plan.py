"""Whether, where and how the submission server runs: the configuration in one value that can be compared."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from postbus.common.config import Config
from postbus.common.config_values import TlsMode


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


def plan_server(config: Config) -> Plan | None:
    """What the configuration asks for; None where the server does not run. OSError for files that are gone."""
    if config.smtp_enabled is False or config.smtp_secret is None:
        return None
    return Plan(
        host=config.smtp_host,
        port=config.smtp_port,
        secret=config.smtp_secret,
        proxy=config.smtp_proxy,
        max_size=config.smtp_max_message_size,
        certificate=_certificate(config),
    )


def load_context(certificate: Certificate) -> ssl.SSLContext:
    """TLS for servers with this certificate. OSError, of which ssl.SSLError is one, where it can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate.cert, certificate.key)
    return context


def _certificate(config: Config) -> Certificate | None:
    if config.smtp_tls_cert_file is None:
        return None
    files = [file for file in (config.smtp_tls_cert_file, config.smtp_tls_key_file) if file]
    stamp = tuple(file.stat().st_mtime_ns for file in files)
    implicit = config.smtp_tls is TlsMode.IMPLICIT
    return Certificate(config.smtp_tls_cert_file, config.smtp_tls_key_file, implicit, stamp)
