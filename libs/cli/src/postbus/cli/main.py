"""The command `postbus`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from postbus.common.config import Config, ConfigError, config_table, load_config
from postbus.common.errors import PostbusError
from postbus.common.version import __version__

app = typer.Typer(
    help="Postbus: a self-hosted email API.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Options such as `--api.port 3001` belong to `load_config`, which knows them and lists everything that is wrong.
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}
_EPILOG = "Every option of `postbus config` may be given: --api.port 3001 --log.level debug"
_ABOUT_RUN = frozenset({"-h", "--help", "-v", "--version"})


def main() -> None:
    """Run a command; `postbus` alone, and `postbus --api.port 3001`, mean `postbus up`."""
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in _ABOUT_RUN):
        arguments = ["up", *arguments]
    try:
        app(arguments, prog_name="postbus")
    except PostbusError as error:
        sys.exit(error.message)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", "-v", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Postbus: a self-hosted email API."""


@app.command("up", context_settings=_PASS_ON, epilog=_EPILOG)
def up(
    context: typer.Context,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Also run a throwaway mail server with two accounts, to try things with.")
    ] = False,
) -> None:
    """Run everything: embedded NATS and Valkey, and the five services."""
    from postbus.cli.supervisor.start import run_up

    sys.exit(run_up(context.args, sandbox=sandbox))


@app.command("serve", context_settings=_PASS_ON, epilog=_EPILOG)
def serve(
    context: typer.Context, service: Annotated[str, typer.Argument(help="api, imap-sync, sender, webhooks or auth")]
) -> None:
    """Run one service, against the NATS and Redis that the configuration names."""
    from postbus.cli.supervisor import work
    from postbus.cli.supervisor.plan import SERVICES

    modules = {known.name: known.module for known in SERVICES}
    if service not in modules:
        raise ConfigError([f"{service}: is no service; there are {', '.join(sorted(modules))}"])
    work.run(_config(context), service=service, module=modules[service], changes={})


@app.command("migrate-streams", context_settings=_PASS_ON, epilog=_EPILOG)
def migrate_streams(
    context: typer.Context,
    replicas: Annotated[int, typer.Option(min=1, max=5, help="Copies of each stream on a cluster of NATS.")] = 1,
) -> None:
    """Make the streams what this version needs, write the prepared settings, and end: the job before a rollout."""
    import asyncio

    from postbus.cli.supervisor.prepare import prepare
    from postbus.cli.supervisor.prepared import read_prepared
    from postbus.common.logs import configure_logs

    config = _config(context)
    configure_logs(config.log_level, service="postbus")
    asyncio.run(prepare(config, read_prepared(config.settings), replicas=replicas))


@app.command("listen")
def listen(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 4000,
    full: Annotated[bool, typer.Option("--full", help="Print whole bodies instead of a line each.")] = False,
) -> None:
    """Receive webhooks on this machine and print them, to try things with."""
    from postbus.cli.listen import listen as run

    try:
        run(host, port, full=full)
    except OSError as error:
        raise ConfigError([f"{host}:{port}: {error.strerror}"]) from error


@app.command("config")
def config() -> None:
    """Print all variables and options, with their defaults."""
    print(config_table(), end="")


@app.command("version")
def version() -> None:
    """Print the version."""
    print(__version__)


@app.command("help")
def help_(context: typer.Context) -> None:
    """Print this help."""
    print((context.parent or context).get_help())


def _config(context: typer.Context) -> Config:
    return load_config(context.args, os.environ, Path.cwd())
