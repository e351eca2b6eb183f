"""The start of `postbus up`: what has to be right before the first process is forked, then the supervisor's loop."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Sequence
from pathlib import Path

import structlog
import uvloop

from postbus.cli.supervisor.children import Children
from postbus.cli.supervisor.data_dir import DataDir
from postbus.cli.supervisor.front import check_ports, draw_port, runs_submission
from postbus.cli.supervisor.plan import SERVICES, Service
from postbus.cli.supervisor.prepared import read_prepared
from postbus.cli.supervisor.supervisor import Supervisor
from postbus.cli.supervisor.zygote import name_process
from postbus.common.config import Config, load_config
from postbus.common.logs import configure_logs
from postbus.common.wait_for import install_wait_for

log = structlog.get_logger()


def run_up(argv: Sequence[str], *, sandbox: bool, services: Sequence[Service] = SERVICES) -> int:
    """Run Postbus until told to stop; the exit code. ConfigError with everything that is wrong before the start."""
    config = _settle(load_config(argv, os.environ, Path.cwd()))
    install_wait_for()
    configure_logs(config.log_level, service="postbus")
    for warning in config.warnings:
        log.warning("configuration", warning=warning)
    prepared = read_prepared(config.settings)
    data = DataDir(config.data_dir)
    data.make()
    data.lock()
    check_ports(config)
    gc.collect()
    gc.freeze()
    children = Children(config)  # forks: no thread and no loop may exist before
    name_process("postbus")
    supervisor = Supervisor(config, children, services, prepared, sandbox)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        failure = runner.run(supervisor.run())
    if failure:
        log.critical("stopped", reason=failure)
        return 1
    log.info("stopped")
    return 0


def _settle(config: Config) -> Config:
    """The configuration of this instance: a data directory that counts as named, and ports where any would do."""
    changes: dict[str, object] = {"data_dir": config.data_dir.absolute()}
    if config.port == 0:
        changes["port"] = draw_port(config.host)
    if config.smtp_port == 0 and runs_submission(config):
        changes["smtp_port"] = draw_port(config.smtp_host)
    return config.model_copy(update=changes)
