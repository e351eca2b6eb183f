"""The servers of tests: they answer when started, keep or lose data as told, and never outlive the test process."""

import os
import signal
import subprocess
import sys
import time

import nats
import pytest
import redis
from hvac.exceptions import Forbidden
from nats.js.api import StreamConfig

from tests.servers import BaoServer, NatsServer, ValkeyServer
from tests.servers.process import is_running

PATIENCE_S = 10.0

START_ALL_AND_TELL_PIDS = """
import sys
from tests.servers import NatsServer, ValkeyServer
servers = [NatsServer().start(), ValkeyServer().start()]
print(*(server.pid for server in servers), flush=True)
sys.stdin.read()
"""


@pytest.mark.anyio
async def test_nats_keeps_acknowledged_messages_across_a_crash(fresh_nats: NatsServer) -> None:
    client = await nats.connect(fresh_nats.url)
    await client.jetstream().add_stream(StreamConfig(name="KEPT", subjects=["kept.>"]))
    await client.jetstream().publish("kept.one", b"1")
    await client.close()
    fresh_nats.kill()
    fresh_nats.start()
    client = await nats.connect(fresh_nats.url)
    assert (await client.jetstream().stream_info("KEPT")).state.messages == 1
    await client.close()


@pytest.mark.anyio
async def test_nats_takes_messages_of_eight_megabytes(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    assert client.max_payload == 8 * 1024 * 1024
    await client.close()


def test_valkey_is_empty_for_each_test(redis_url: str, valkey_server: ValkeyServer) -> None:
    redis.Redis.from_url(redis_url).set("key", "value")
    valkey_server.flush()
    assert redis.Redis.from_url(valkey_server.unix_url).keys() == []


def test_an_append_only_valkey_keeps_its_keys_across_a_crash(fresh_valkey: ValkeyServer) -> None:
    redis.Redis.from_url(fresh_valkey.url).set("key", "value")
    fresh_valkey.kill()
    fresh_valkey.start()
    assert redis.Redis.from_url(fresh_valkey.url).get("key") == b"value"


def test_bao_has_a_versioned_secret_store(bao_server: BaoServer) -> None:
    bao_server.put_secret("email/encryption", {"active": "k1"})
    bao_server.put_secret("email/encryption", {"active": "k2"})
    assert bao_server.read_secret("email/encryption") == {"active": "k2"}


def test_a_service_logs_in_at_bao_by_approle_or_token_and_may_only_read(bao_server: BaoServer) -> None:
    bao_server.put_secret("email/service", {"key": "value"})
    by_approle, by_jwt = bao_server.client(token=""), bao_server.client(token="")
    by_approle.auth.approle.login(*bao_server.enable_approle())
    by_jwt.token = by_jwt.auth.jwt.jwt_login("postbus", bao_server.enable_jwt())["auth"]["client_token"]
    for client in (by_approle, by_jwt):
        kv = client.secrets.kv.v2
        assert kv.read_secret_version("email/service", raise_on_deleted_version=True)["data"]["data"] == {
            "key": "value"
        }
        with pytest.raises(Forbidden):
            kv.create_or_update_secret("email/service", {"key": "other"})


def test_servers_end_when_the_test_process_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", START_ALL_AND_TELL_PIDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin and parent.stdout
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + PATIENCE_S
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(is_running(pid) for pid in pids)


def test_a_server_that_does_not_start_shows_its_log() -> None:
    with pytest.raises(RuntimeError, match="no_such_setting"), NatsServer("no_such_setting: true"):
        pass
