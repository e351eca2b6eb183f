"""`postbus up`: starts, watches and drains everything; nothing outlives it, nothing it kept is lost."""

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from tests.integration.cli.instance import Instance, eventually, processes_of, run_once
from tests.servers import NatsServer
from tests.servers.process import bundled_program, is_running

SERVICES = {"postbus-sender", "postbus-imap-sync-1"[:15], "postbus-api"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Instance]:
    with Instance() as instance:
        yield instance


class Waiting(Instance):
    """One that can't become ready, as somebody is away."""

    def ready(self) -> bool:
        return '"waiting"' in self.said()


def replaced(instance: Instance, name: str, killed: int) -> bool:
    """Whether another process has this name now."""
    return any(pid != killed and found == name for pid, found in processes_of(instance.pid).items())


def store_of(instance: Instance) -> "redis.Redis":
    return redis.Redis(unix_socket_path=str(instance.data / "run" / "valkey.sock"))


def test_everything_runs_and_a_person_is_told_where(shared: Instance) -> None:
    names = list(processes_of(shared.pid).values())
    assert {"postbus-zygote", "nats-server", "valkey-server"} | SERVICES <= set(names)
    assert names.count("postbus-imap-sy") == 2
    url = f"http://127.0.0.1:{shared.port}"
    assert f"API   {url}/v1" in shared.said()
    assert f"docs  {url}/docs" in shared.said()
    assert f"data  {shared.data}" in shared.said()
    with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
        assert answer.status == 200


def test_the_process_that_forks_has_one_thread_only(shared: Instance) -> None:
    zygote = shared.process("postbus-zygote")
    assert len(os.listdir(f"/proc/{zygote}/task")) == 1


def test_what_is_secret_can_be_read_by_its_owner_only(shared: Instance) -> None:
    for name in ("keys.json", "run/nats.conf", "run/valkey.conf", "run/valkey.sock"):
        assert (shared.data / name).stat().st_mode & 0o077 == 0, name
    assert shared.data.stat().st_mode & 0o077 == 0


def test_every_write_of_the_store_is_on_disk_before_it_is_acknowledged(shared: Instance) -> None:
    with store_of(shared) as store:
        settings = store.config_get("*")
        assert settings["appendonly"] == "yes"
        assert settings["appendfsync"] == "always"
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["port"] == "0"


def test_a_second_instance_on_the_same_data_directory_is_refused(shared: Instance) -> None:
    result = run_once("up", "--service.dataDir", str(shared.data), "--api.port", "0", cwd=shared.directory)
    assert result.returncode == 1
    assert f"another Postbus (process {shared.pid}) uses it" in result.stderr


def test_a_service_that_was_killed_is_started_again(shared: Instance) -> None:
    killed = shared.process("postbus-sender")
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: replaced(shared, "postbus-sender", killed), "a new sender")
    assert "signal SIGKILL" in shared.said()


def test_embedded_servers_that_were_killed_come_back_where_they_were(shared: Instance) -> None:
    store_of(shared).set("kept", "yes")
    for name in ("valkey-server", "nats-server"):
        killed = shared.process(name)
        os.kill(killed, signal.SIGKILL)
        eventually(partial(replaced, shared, name, killed), f"a new {name}")

    def answers() -> bool:
        try:
            return bool(store_of(shared).get("kept") == b"yes")
        except redis.exceptions.ConnectionError:
            return False

    eventually(answers, "the store with its data")
    eventually(lambda: shared.said().count('"bus reconnected"') >= 4, "services that found the bus again")


def test_sigterm_drains_in_order_and_exits_0() -> None:
    with Instance() as instance:
        eventually(lambda: instance.said().count('"service ready"') == 4, "all services")
        before = processes_of(instance.pid)
        os.kill(instance.pid, signal.SIGTERM)
        assert instance.terminate() == 0, "a second signal changes nothing"
        stopped = [line["service"] for line in _lines(instance) if line.get("event") == "service stopped"]
        assert stopped == ["api", "imap-sync", "imap-sync", "sender"]
        assert not [name for pid, name in before.items() if is_running(pid)]


def test_kill_9_of_the_supervisor_takes_every_process_with_it() -> None:
    with Instance() as instance:
        before = processes_of(instance.pid)
        assert len(before) >= 7
        instance.kill()
        eventually(lambda: not [name for pid, name in before.items() if is_running(pid)], "the end of all")


def test_after_kill_9_of_everything_the_next_start_works_on_the_same_data() -> None:
    with Instance() as instance:
        store_of(instance).set("kept", "yes")
        everybody = processes_of(instance.pid)
        for pid in everybody:
            os.kill(pid, signal.SIGKILL)
        instance.kill()
        (torn,) = instance.data.glob("valkey/appendonlydir/*.incr.aof")
        with torn.open("ab") as file:
            file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nhal")  # what a crash in the middle of a write leaves
        instance.start()
        assert store_of(instance).get("kept") == b"yes"


def test_a_service_that_dies_again_and_again_ends_the_instance_with_the_reason() -> None:
    with Instance("--broken") as instance:
        assert instance.wait() == 1
        assert "broken on purpose" in instance.said()
        assert "webhooks ended again and again (exit status 1)" in instance.said()


def test_outside_servers_are_used_where_they_are_named(fresh_nats: NatsServer, redis_url: str) -> None:
    with Instance("--dbs.nats", fresh_nats.url, "--dbs.redis", redis_url, "--settings", '{"notifyText": false}') as one:
        assert not {"nats-server", "valkey-server"} & set(processes_of(one.pid).values())
        with redis.Redis.from_url(redis_url) as store:
            assert store.hget("ee:{cfg}", "notifyText") == b"false"
        assert one.terminate() == 0


def test_it_waits_for_an_outside_bus_and_stops_at_once_when_told(free_port: int) -> None:
    instance = Waiting("--dbs.nats", f"nats://127.0.0.1:{free_port}")
    try:
        instance.start()
        assert instance.terminate() == 0
    finally:
        instance.close()


def test_the_store_answers_where_the_path_of_its_socket_would_be_too_long() -> None:
    instance = Instance()
    instance.data = instance.directory / ("d" * 100)
    with instance:
        assert not (instance.data / "run" / "valkey.sock").exists()
        assert "valkey-server" in processes_of(instance.pid).values()


def test_prepared_settings_are_written_and_unknown_ones_are_named() -> None:
    with Instance("--settings", '{"webhooks": "http://127.0.0.1:9/", "serviceSecret": "s3", "noSuch": 1}') as instance:
        stored = store_of(instance).hgetall("ee:{cfg}")
        assert json.loads(stored[b"webhooks"]) == "http://127.0.0.1:9/"
        assert b"noSuch" not in stored
        assert "s3" not in json.loads(stored[b"serviceSecret"]), "secrets are sealed"
        warnings = [line for line in _lines(instance) if line.get("names") == ["noSuch"]]
        assert warnings


@pytest.mark.parametrize("settings", ["{", "[]", '{"webhooks": "nonsense", "notifyTextSize": -1}'])
def test_prepared_settings_that_are_wrong_stop_the_start(settings: str, tmp_path: Path) -> None:
    result = run_once("up", "--settings", settings, cwd=tmp_path)
    assert result.returncode == 1
    assert all(line.startswith("EENGINE_SETTINGS: ") for line in result.stderr.strip().splitlines())
    assert len(result.stderr.strip().splitlines()) == (2 if "webhooks" in settings else 1)
    assert not (tmp_path / "data").exists()


def test_bad_options_stop_the_start_and_all_of_them_are_named(tmp_path: Path) -> None:
    result = run_once("up", "--api.port", "x", "--nonsense", "--log.level=loud", cwd=tmp_path)
    assert result.returncode == 1
    labels = {line.partition(":")[0] for line in result.stderr.strip().splitlines()}
    assert labels == {"--api.port", "--nonsense", "--log.level"}


def _lines(instance: Instance) -> list[dict[str, object]]:
    return [json.loads(line) for line in instance.said().splitlines() if line.startswith("{")]


def test_a_port_that_somebody_has_is_named_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [str(bundled_program("postbus")), "up", "--api.port", str(port), "--service.dataDir", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert f"the API can't listen on 127.0.0.1, port {port}: Address already in use" in done.stderr
    assert "ready" not in done.stdout
