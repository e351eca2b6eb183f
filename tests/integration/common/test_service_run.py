"""How a service lives: it waits for its parts, works, and ends with 0 when told to; anything else ends it loudly."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postbus.common.secrets.keyring import compose_ring
from tests.servers import NatsServer, ValkeyServer, free_port

PATIENCE_S = 15.0
ROOT = Path(__file__).resolve().parents[3]
SERVICE = """
import asyncio
CRASH = False
from postbus.common.service import Parts, run_service

async def serve(parts: Parts) -> None:
    print("ready", parts.worker, parts.settings.current.service_secret is not None, flush=True)
    if CRASH:
        raise RuntimeError("a mistake")
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.05)
        await parts.bus.say("test.done")
        print("cleaned up", flush=True)

run_service("tiny", serve)
"""


@contextmanager
def running(*arguments: str, code: str = SERVICE, **environ: str) -> "Iterator[subprocess.Popen[str]]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("EENGINE_", "VAULT_"))}
    secret = {"EENGINE_SECRET": compose_ring({"k": bytes(32)}, "k")}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT / "tests" / "integration" / "common",
        env={**inherited, **secret, **environ},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_starts_and_ends_in_order_when_told_to(
    nats_server: NatsServer, redis_url: str, number: signal.Signals
) -> None:
    with running(EENGINE_NATS=nats_server.url, EENGINE_REDIS=redis_url) as process:
        assert first_line(process).endswith(" True\n")
        process.send_signal(number)
        output, logs = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output) == (0, "cleaned up\n"), logs
    assert '"service stopped"' in logs


def test_a_bus_that_is_closed_for_good_ends_a_service_loudly(nats_server: NatsServer, redis_url: str) -> None:
    code = SERVICE.replace("    if CRASH:", "    parts.bus.nc._transport.write(b'NONSENSE\\r\\n')\n    if CRASH:")
    with running(code=code, EENGINE_NATS=nats_server.url, EENGINE_REDIS=redis_url) as process:
        _, logs = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "bus closed: nats: unknown protocol operation" in logs


def test_an_error_nobody_expected_ends_a_service_loudly(nats_server: NatsServer, redis_url: str) -> None:
    code = SERVICE.replace("CRASH = False", "CRASH = True")
    with running(code=code, EENGINE_NATS=nats_server.url, EENGINE_REDIS=redis_url) as process:
        _, logs = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "RuntimeError: a mistake" in logs


def test_a_service_that_waits_for_its_parts_says_so_and_can_be_stopped() -> None:
    nowhere = {"EENGINE_NATS": f"nats://127.0.0.1:{free_port()}", "EENGINE_REDIS": f"redis://127.0.0.1:{free_port()}"}
    with running(**nowhere) as process:
        assert process.stderr is not None
        assert "waiting" in process.stderr.readline()
        started = time.monotonic()
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
        assert time.monotonic() - started < 5
    assert process.returncode == 0


def test_a_service_starts_once_its_parts_are_there(fresh_nats: NatsServer, fresh_valkey: ValkeyServer) -> None:
    fresh_nats.stop()
    fresh_valkey.stop()
    with running(EENGINE_NATS=fresh_nats.url, EENGINE_REDIS=fresh_valkey.url) as process:
        assert process.stderr is not None
        assert "waiting" in process.stderr.readline()
        fresh_valkey.start()
        fresh_nats.start()
        assert first_line(process).startswith("ready")
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def test_a_bad_configuration_ends_with_1_and_every_problem() -> None:
    with running("--no.such", "x", EENGINE_PORT="http", EENGINE_CORS_ORIGIN="*") as process:
        _, logs = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert all(word in logs for word in ("--no.such", "EENGINE_PORT", "EENGINE_CORS_ORIGIN"))
    assert "Traceback" not in logs


def test_without_any_secret_a_service_does_not_start(nats_server: NatsServer, redis_url: str) -> None:
    with running(EENGINE_NATS=nats_server.url, EENGINE_REDIS=redis_url, EENGINE_SECRET="") as process:
        _, logs = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "no encryption secret" in logs
    assert "Traceback" not in logs
