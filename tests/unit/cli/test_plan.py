"""Which processes there are, when they are restarted, and where their sockets go."""

import os
from pathlib import Path

import pytest

from postbus.cli.supervisor.data_dir import MAX_SOCKET_PATH, DataDir
from postbus.cli.supervisor.front import compose_banner, reachable_host
from postbus.cli.supervisor.plan import (
    DRAIN_ORDER,
    MAIL,
    NATS,
    SERVICES,
    VALKEY,
    group_of,
    plan_processes,
    shared_modules,
)
from postbus.cli.supervisor.restarts import LAST_DELAY_S, MAX_DEATHS, WINDOW_S, Restarts
from postbus.cli.supervisor.supervisor import describe_status
from postbus.cli.supervisor.valkey_server import compose_valkey_config
from postbus.common.config import ConfigError, load_config


def test_one_process_a_service_and_as_many_of_imap_sync_as_asked_for() -> None:
    keys = [process.key for process in plan_processes(SERVICES, 3)]
    assert keys == ["api", "imap-sync-1", "imap-sync-2", "imap-sync-3", "sender", "webhooks", "auth"]
    assert [process.key for process in plan_processes(SERVICES, 1)][1] == "imap-sync"


def test_only_code_that_several_processes_run_is_loaded_before_they_are_forked() -> None:
    assert shared_modules(SERVICES, 3) == ["postbus.imap_sync.service"]
    assert shared_modules(SERVICES, 1) == []


def test_every_process_has_its_place_in_the_drain_order() -> None:
    places = {name for group in DRAIN_ORDER for name in group}
    keys = [process.key for process in plan_processes(SERVICES, 12)]
    assert {group_of(key) for key in [*keys, NATS, VALKEY, MAIL]} == places


def test_restarts_wait_longer_each_time_until_there_were_too_many_in_a_minute() -> None:
    restarts = Restarts()
    delays = [restarts.delay_after_death(float(second)) for second in range(MAX_DEATHS)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert restarts.delay_after_death(MAX_DEATHS) is None


def test_a_process_that_dies_now_and_then_is_never_given_up() -> None:
    restarts = Restarts()
    for death in range(100):
        delay = restarts.delay_after_death(death * WINDOW_S / 2)
        assert delay is not None
        assert delay <= LAST_DELAY_S


def test_a_long_socket_path_is_replaced_by_a_private_short_one(tmp_path: Path) -> None:
    short = DataDir(tmp_path / "d")
    assert short.socket_path("s") == tmp_path / "d" / "run" / "s"
    deep = DataDir(tmp_path / ("d" * MAX_SOCKET_PATH))
    path = deep.socket_path("s")
    try:
        assert len(os.fsencode(path)) <= MAX_SOCKET_PATH
        assert path.parent.stat().st_mode & 0o077 == 0
        assert deep.socket_path("s") == path, "the same at every start"
        path.parent.chmod(0o755)
        with pytest.raises(ConfigError, match="not a directory of ours alone"):
            deep.socket_path("s")
    finally:
        path.parent.rmdir()


def test_a_directory_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=f"data directory {tmp_path}/file/data: "):
        DataDir(tmp_path / "file" / "data").make()


def test_a_path_with_quotes_and_spaces_stays_one_word_for_valkey() -> None:
    text = compose_valkey_config(Path('/a "b" c'), Path("/s"))
    assert 'dir "/a \\"b\\" c"\n' in text


@pytest.mark.parametrize(
    ("host", "reachable"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.1", "10.0.0.1"), ("mail", "mail")]
)
def test_who_listens_everywhere_is_reached_on_loopback(host: str, reachable: str) -> None:
    assert reachable_host(host) == reachable


def test_the_banner_puts_brackets_around_ipv6(tmp_path: Path) -> None:
    config = load_config(["--api.host", "::", "--api.port", "3001"], {}, tmp_path)
    assert "http://[::1]:3001/docs" in compose_banner(config)


def test_an_exit_status_is_said_in_words() -> None:
    assert describe_status(-9) == "signal SIGKILL"
    assert describe_status(3) == "exit status 3"
