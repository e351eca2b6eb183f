"""Values of the configuration: what is read, and what is refused instead of being bent."""

from datetime import timedelta
from pathlib import Path

import pytest

from postbus.common.config import Config, ConfigError, load_config
from postbus.common.config_values import LocalAddress, parse_basic_auth, parse_local_addresses


def read(**environ: str) -> Config:
    return load_config([], environ, Path("/nonexistent"))


def refused(**environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(**environ)
    return "\n".join(caught.value.problems)


def test_durations_and_sizes_have_units() -> None:
    config = read(EENGINE_TIMEOUT="2m", EENGINE_MAX_SIZE="1G", EENGINE_MAX_BODY_SIZE="1500")
    assert (config.command_timeout, config.max_size, config.max_body_size) == (timedelta(minutes=2), 1024**3, 1500)


@pytest.mark.parametrize("value", ["0", "0s", "-1s", "later", "1 fortnight"])
def test_a_timeout_has_to_be_a_time(value: str) -> None:
    assert refused(EENGINE_TIMEOUT=value).startswith("EENGINE_TIMEOUT: ")


@pytest.mark.parametrize("value", ["65536", "-1", "http", "3.5"])
def test_a_port_has_to_be_one(value: str) -> None:
    assert refused(EENGINE_PORT=value).startswith("EENGINE_PORT: ")


@pytest.mark.parametrize("value", ["0", "257", "many"])
def test_workers_have_a_sensible_number(value: str) -> None:
    assert refused(EENGINE_WORKERS=value).startswith("EENGINE_WORKERS: ")


def test_workers_may_be_as_many_as_there_are_processors() -> None:
    assert read(EENGINE_WORKERS="cpus").workers_imap >= 1


@pytest.mark.parametrize("level", ["trace", "DEBUG", "info", "warn", "error", "fatal"])
def test_the_levels_of_the_incumbent_are_known(level: str) -> None:
    assert read(EENGINE_LOG_LEVEL=level).log_level == level.lower()


@pytest.mark.parametrize("url", ["redis://h:1/8", "rediss://u:p@h/0", "unix:///tmp/x.sock?db=0"])
def test_addresses_of_the_store(url: str) -> None:
    assert read(EENGINE_REDIS=url).redis == url


@pytest.mark.parametrize("url", ["redis://", "valkey://h", "h:6379", "unix://", "redis://h:99999", "redis://[::1"])
def test_addresses_of_no_store(url: str) -> None:
    assert refused(EENGINE_REDIS=url).startswith("EENGINE_REDIS: ")


def test_the_password_of_basic_authentication_may_hold_colons() -> None:
    auth = parse_basic_auth("user:a:b")
    assert (auth.user, auth.password.get_secret_value()) == ("user", "a:b")


@pytest.mark.parametrize("text", ["", "user", "user:", ":pass", "  :x"])
def test_basic_authentication_needs_both_parts(text: str) -> None:
    with pytest.raises(ValueError):
        parse_basic_auth(text)


def test_local_addresses_are_read_and_nonsense_among_them_is_told() -> None:
    addresses, dropped = parse_local_addresses("192.0.2.1|mail.example.com; 2001:db8::1 ,bogus,,")
    assert addresses == [LocalAddress("192.0.2.1", "mail.example.com"), LocalAddress("2001:db8::1")]
    assert dropped == ["bogus"]
    config = read(EENGINE_ADDRESSES="192.0.2.1,bogus")
    assert config.local_addresses == [LocalAddress("192.0.2.1")]
    assert config.warnings == ("EENGINE_ADDRESSES: bogus is dropped, it is not an IP address",)


def test_files_that_are_named_have_to_be_there() -> None:
    assert "is not a file" in refused(EENGINE_NATS_CA_FILE="missing.pem")
