"""What runs in a forked process: one service, with its own way to the bus and to the store."""

from __future__ import annotations

import importlib
from pathlib import Path

from postbus.common.config import Config

CALL = f"{__name__}:run"


def run(config: Config, *, service: str, module: str, changes: dict[str, str | int]) -> None:
    """Be the service. `changes` replace values of the configuration: `redis`, `nats`, `data_dir`, `port`."""
    from postbus.common.service import run_configured

    values = {name: Path(str(value)) if name == "data_dir" else value for name, value in changes.items()}
    serve = importlib.import_module(module).serve
    run_configured(service, serve, config.model_copy(update=values))
