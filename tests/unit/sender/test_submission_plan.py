"""Whether and how the submission server runs: a password is enough, settings go before the configuration."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from postbus.common.config import Config
from postbus.common.config_values import TlsMode
from postbus.common.service_settings import ServiceSettings
from postbus.sender.submission.plan import Plan, Unfit, plan_server

SECRET = SecretStr("s")


def plan(config: dict[str, Any] | None = None, **settings: Any) -> Plan | None:
    return plan_server(Config(**(config or {})), ServiceSettings(**settings))


@pytest.mark.parametrize(
    ("config", "settings", "runs"),
    [
        ({}, {}, False),
        ({"smtp_secret": SECRET}, {}, True),
        ({"smtp_secret": SECRET, "smtp_enabled": False}, {}, False),
        ({"smtp_secret": SECRET, "smtp_enabled": False}, {"smtp_server_enabled": True}, True),
        ({"smtp_secret": SECRET}, {"smtp_server_enabled": False}, False),
        ({}, {"smtp_server_password": "p"}, True),
        ({"smtp_enabled": True}, {"smtp_server_password": "p"}, True),
        ({"smtp_enabled": True}, {"smtp_server_auth_enabled": False}, True),
        ({}, {"smtp_server_auth_enabled": False}, False),
    ],
)
def test_it_runs_where_it_has_a_password_unless_somebody_decides(
    config: dict[str, Any], settings: dict[str, Any], runs: bool
) -> None:
    assert (plan(config, **settings) is not None) is runs


def test_settings_go_before_the_configuration() -> None:
    found = plan(
        {"smtp_secret": SECRET, "smtp_host": "127.0.0.1", "smtp_port": 2525, "smtp_proxy": True},
        smtp_server_host="::1",
        smtp_server_port=2526,
        smtp_server_proxy=False,
        smtp_server_password="p",
    )
    assert found is not None
    assert (found.host, found.port, found.proxy, found.secret) == ("::1", 2526, False, SecretStr("p"))


def test_without_a_password_nobody_can_log_in_and_it_does_not_run() -> None:
    with pytest.raises(Unfit):
        plan(smtp_server_enabled=True)


def test_a_certificate_that_was_renewed_makes_another_plan(tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.touch()
    config = {"smtp_secret": SECRET, "smtp_tls_cert_file": cert, "smtp_tls": TlsMode.IMPLICIT}
    first = plan(config)
    assert first == plan(config) and first is not None and first.certificate is not None and first.certificate.implicit
    os.utime(cert, (1, 1))
    assert first != plan(config)
    with pytest.raises(Unfit):
        plan({"smtp_secret": SECRET}, smtpServerTLSEnabled=True)
    cert.unlink()
    with pytest.raises(OSError):
        plan(config)
