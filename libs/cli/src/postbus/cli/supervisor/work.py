"""What runs in forked processes: a service, or the preparation before it. The supervisor itself loads none of that.

`changes` replace values of the configuration: `redis` and `nats` are the process's own way to them.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

from postbus.common.config import Config
from postbus.common.errors import PostbusError
from postbus.common.logs import configure_logs

RUN = f"{__name__}:run"
PREPARE = f"{__name__}:prepare"


def run(config: Config, *, service: str, module: str, changes: dict[str, str]) -> None:
    """Be the service."""
    from postbus.common.service import run_configured

    serve = importlib.import_module(module).serve
    run_configured(service, serve, config.model_copy(update=changes))


def prepare(config: Config, *, settings: dict[str, Any], changes: dict[str, str]) -> None:
    """Migrate streams and write the prepared settings; exit status 1 with the reason where that is refused."""
    from postbus.cli.supervisor.prepare import prepare as prepare_all

    configure_logs(config.log_level, service="postbus")
    try:
        asyncio.run(prepare_all(config.model_copy(update=changes), settings))
    except PostbusError as error:
        sys.exit(f"postbus: {error.message}")
