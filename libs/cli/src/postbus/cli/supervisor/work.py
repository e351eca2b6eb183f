"""What runs in forked processes: a service, or the preparation before it. The supervisor itself loads none of that.

`changes` replace values of the configuration: `redis` and `nats` are the process's own way to them.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from pathlib import Path
from typing import Any

from postbus.common.config import Config
from postbus.common.errors import PostbusError
from postbus.common.logs import configure_logs

RUN = f"{__name__}:run"
PREPARE = f"{__name__}:prepare"
GATE_TIMEOUT_S = 60.0
GATE_POLL_S = 0.005


def run(config: Config, *, service: str, module: str, changes: dict[str, str], gate: str | None = None) -> None:
    """Be the service, once its code is loaded and the file `gate` is there: streams and settings are prepared then."""
    from postbus.common.service import run_configured

    serve = importlib.import_module(module).serve
    if gate is not None:
        _wait_for(Path(gate))
    run_configured(service, serve, config.model_copy(update=changes))


def prepare(config: Config, *, settings: dict[str, Any], changes: dict[str, str]) -> None:
    """Migrate streams and write the prepared settings; exit status 1 with the reason where that is refused."""
    from postbus.cli.supervisor.prepare import prepare as prepare_all

    configure_logs(config.log_level, service="postbus")
    try:
        asyncio.run(prepare_all(config.model_copy(update=changes), settings))
    except PostbusError as error:
        sys.exit(f"postbus: {error.message}")


def _wait_for(gate: Path) -> None:
    until = time.monotonic() + GATE_TIMEOUT_S
    while not gate.exists():
        if time.monotonic() > until:
            sys.exit("postbus: streams and settings were not prepared in time")
        time.sleep(GATE_POLL_S)
