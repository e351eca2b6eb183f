"""Where configuration comes from: environment, `.env`, `NAME_FILE`, command line and TOML file, and what wins.

Environment > command line > TOML file > built-in default; `.env` of the working directory fills the environment first.
A setting is called `--api.port` on the command line, so `port` of section `[api]` in the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

MAX_FILE_SIZE = 1024 * 1024  # bytes; of `.env`, the TOML file and every NAME_FILE

PREFIX = "EENGINE_"
CONFIG_OPTION = "--config"
CONFIG_VARIABLE = "NODE_CONFIG_PATH"

# What the incumbent knows and this version does not do: refused by name, as nothing is ever accepted and ignored.
UNAVAILABLE_VARIABLES = frozenset(
    PREFIX + name
    for name in [
        "ADMIN_ACCESS_ADDRESSES",
        "API_PROXY",
        "API_PROXY_ADDRESSES",
        "API_TLS",
        "APPDIR",
        "ARENA_ENABLED",
        "BEACON_DISABLED",
        "CHUNK_SIZE",
        "CONNECTION_SETUP_DELAY",
        "CORS_MAX_AGE",
        "CORS_ORIGIN",
        "DISABLE_COMPRESSION",
        "DISABLE_MESSAGE_BROWSER",
        "DISABLE_SETUP_WARNINGS",
        "DISABLE_THREAD_COLLAPSE",
        "DOCUMENT_STORE_ENABLED",
        "ENABLE_OAUTH_TOKENS_API",
        "EXPORT_MAX_AGE",
        "EXPORT_PATH",
        "EXPORT_QC",
        "EXPORT_TIMEOUT",
        "FETCH_BATCH_SIZE",
        "FETCH_TIMEOUT",
        "GMAIL_FALLBACK_POLL_INTERVAL",
        "HTTP_PROXY_ENABLED",
        "HTTP_PROXY_URL",
        "IMAP_PROXY_ENABLED",
        "IMAP_PROXY_HOST",
        "IMAP_PROXY_PORT",
        "IMAP_PROXY_PROXY",
        "IMAP_PROXY_SECRET",
        "IMAP_SOCKET_TIMEOUT",
        "LOG_RAW",
        "MAX_IMAP_AUTH_FAILURE_TIME",
        "MAX_PAYLOAD_TIMEOUT",
        "MCP_ENABLED",
        "NOTIFY_QC",
        "PREPARED_LICENSE",
        "PREPARED_PASSWORD",
        "PREPARED_TOKEN",
        "QUEUE_KEEP_FAILED",
        "QUEUE_KEEP_FAILED_AGE",
        "QUEUE_REMOVE_AFTER",
        "REDIS_PREFIX",
        "REQUIRE_API_AUTH",
        "SUBMIT_DELAY",
        "SUBMIT_QC",
        "TLS_CIPHERS",
        "TLS_MIN_DH_SIZE",
        "TLS_MIN_VERSION",
        "TOKEN_LOG_AGE",
        "TOKEN_LOG_ENTRIES",
        "UPDATE_CHECK_DISABLED",
        "WEBHOOK_EGRESS_POLICY",
        "WORKERS_API",
        "WORKERS_EXPORT",
        "WORKERS_SUBMIT",
        "WORKERS_WEBHOOKS",
    ]
)
UNAVAILABLE_PREFIXES = tuple(PREFIX + name for name in ("API_TLS_", "SMTP_TLS_", "IMAPPROXY_TLS_"))
UNAVAILABLE_OPTIONS = frozenset(
    f"--{name}"
    for name in [
        "api.maxPayloadTimeout",
        "api.proxy",
        "api.tls",
        "arena.enabled",
        "arena.host",
        "arena.port",
        "cors.maxAge",
        "cors.origin",
        "decrypt",
        "documentStore.enabled",
        "imap-proxy.enabled",
        "imap-proxy.host",
        "imap-proxy.port",
        "imap-proxy.proxy",
        "imap-proxy.secret",
        "licensePath",
        "log.raw",
        "mcp.enabled",
        "preparedLicense",
        "preparedPassword",
        "preparedToken",
        "queues.export",
        "queues.notify",
        "queues.submit",
        "service.fetchBatchSize",
        "service.setupDelay",
        "submitDelay",
        "workers.api",
        "workers.submit",
        "workers.webhooks",
    ]
)


@dataclass(frozen=True, slots=True)
class Option:
    """What one setting is called outside; `flag`: on the command line it may stand without a value."""

    env: str
    cli: str | None = None  # "--api.port"
    flag: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it came in, and what its giver called it."""

    value: Any
    label: str


@dataclass(slots=True)
class Sources:
    """What was found: a value a field at most, the one that wins; everything that is wrong; everything odd."""

    given: dict[str, Given] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_sources(options: Mapping[str, Option], argv: Sequence[str], environ: Mapping[str, str], cwd: Path) -> Sources:
    """Collect what was said about these options, by field name. Does not raise: `problems` has all that is wrong."""
    sources = Sources()
    variables = _with_dotenv(environ, cwd / ".env", sources)
    command_line = _from_argv(options, argv, sources)
    config_file = command_line.pop(CONFIG_OPTION, None)
    if path := variables.get(CONFIG_VARIABLE):
        config_file = Given(path, CONFIG_VARIABLE)
    from_file = _from_toml(options, cwd / config_file.value, config_file.label, sources) if config_file else {}
    sources.given = from_file | command_line | _from_environment(options, variables, cwd, sources)
    return sources


def _with_dotenv(environ: Mapping[str, str], path: Path, sources: Sources) -> dict[str, str]:
    """The environment, filled from `.env`. Empty means unset. What the environment has, as value or as file, stays."""
    variables = {name: value for name, value in environ.items() if value}
    if not path.is_file():
        return variables
    text = _read_file(path, ".env", sources) or ""
    said = {name.removesuffix("_FILE") for name in variables}
    fills = dotenv_values(stream=StringIO(text), interpolate=False)
    return {
        name: value for name, value in fills.items() if value and name.removesuffix("_FILE") not in said
    } | variables


def _from_environment(
    options: Mapping[str, Option], variables: Mapping[str, str], cwd: Path, sources: Sources
) -> dict[str, Given]:
    given = {}
    known = {CONFIG_VARIABLE}
    own_names = {option.env for option in options.values()}
    for name, option in options.items():
        file_variable = f"{option.env}_FILE"
        known |= {option.env} if file_variable in own_names else {option.env, file_variable}
        path = None if file_variable in own_names else variables.get(file_variable)
        if option.env in variables:
            given[name] = Given(variables[option.env], option.env)
        if path and option.env in variables:
            sources.problems.append(f"{file_variable}: {option.env} is set as well; keep one of them")
        elif path and (text := _read_value(cwd / path, file_variable, sources)):
            given[name] = Given(text, file_variable)
    for variable in sorted(variables.keys() - known - own_names):
        _judge_unknown(variable, sources)
    return given


def _judge_unknown(variable: str, sources: Sources) -> None:
    if not variable.startswith(PREFIX):
        return
    if variable.removesuffix("_FILE") in UNAVAILABLE_VARIABLES or variable.startswith(UNAVAILABLE_PREFIXES):
        sources.problems.append(f"{variable}: is not available in this version")
    else:
        sources.warnings.append(f"{variable}: is not a known setting and has no effect")


def _from_argv(options: Mapping[str, Option], argv: Sequence[str], sources: Sources) -> dict[str, Given]:
    by_cli = {option.cli: (name, option) for name, option in options.items() if option.cli}
    by_cli[CONFIG_OPTION] = (CONFIG_OPTION, Option(CONFIG_VARIABLE, CONFIG_OPTION))
    given = {}
    for label, value in _arguments(argv):
        if label not in by_cli:
            sources.problems.append(f"{label}: {_why_not(label)}")
            continue
        name, option = by_cli[label]
        if value is None and not option.flag:
            sources.problems.append(f"{label}: needs a value")
        elif value != "":
            given[name] = Given("true" if value is None else value, label)
    return given


def _arguments(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Pairs of option and value from `--name value`, `--name=value` and `--name`; a stray word is a pair of its own."""
    position = 0
    while position < len(argv):
        label, equals, value = argv[position].partition("=")
        position += 1
        if equals or not label.startswith("--"):
            yield label, value if equals else None
        elif position < len(argv) and not argv[position].startswith("--"):
            yield label, argv[position]
            position += 1
        else:
            yield label, None


def _why_not(label: str) -> str:
    return "is not available in this version" if label in UNAVAILABLE_OPTIONS else "is not a known option"


def _from_toml(options: Mapping[str, Option], path: Path, label: str, sources: Sources) -> dict[str, Given]:
    try:
        tree = tomllib.loads(_read_file(path, label, sources) or "")
    except tomllib.TOMLDecodeError as error:
        sources.problems.append(f"{label}: {path} is not valid TOML: {error}")
        return {}
    by_path = {option.cli.removeprefix("--"): name for name, option in options.items() if option.cli}
    given = {}
    for dotted, value in _leaves(tree, by_path, ""):
        if dotted in by_path:
            given[by_path[dotted]] = Given(value, f"{path.name}: {dotted}")
        else:
            sources.problems.append(f"{path.name}: {dotted}: {_why_not(f'--{dotted}')}")
    return given


def _leaves(tree: Mapping[str, Any], known: Mapping[str, str], prefix: str) -> Iterator[tuple[str, Any]]:
    """The values of the file by dotted name; a known name is a value even where it is a table (`[settings]`)."""
    for key, value in tree.items():
        dotted = prefix + key
        if isinstance(value, dict) and dotted not in known:
            yield from _leaves(value, known, f"{dotted}.")
        else:
            yield dotted, value


def _read_value(path: Path, label: str, sources: Sources) -> str | None:
    """The value that is all a file holds, without the end of its line; a file without any is a problem."""
    text = _read_file(path, label, sources)
    if text is not None and not text.strip():
        sources.problems.append(f"{label}: {path} is empty")
    return text.rstrip("\r\n") if text and text.strip() else None


def _read_file(path: Path, label: str, sources: Sources) -> str | None:
    """The text of a file; what prevents that becomes a problem, and there is no text."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_SIZE + 1)
        if len(content) > MAX_FILE_SIZE:
            sources.problems.append(f"{label}: {path} is larger than {MAX_FILE_SIZE} bytes")
            return None
        return content.decode()
    except OSError as error:
        sources.problems.append(f"{label}: can't read {path}: {error.strerror}")
    except UnicodeDecodeError:
        sources.problems.append(f"{label}: {path} is not UTF-8 text")
    return None
