"""Logs: one line an occurrence, a fixed lower-case phrase plus fields. JSON, and readable where a person watches."""

from __future__ import annotations

import logging
import sys
from typing import Any

import orjson
import structlog

from postbus.common.config_values import LogLevel
from postbus.common.ids import shown_account

_LEVELS = {
    LogLevel.TRACE: logging.DEBUG,
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARN: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
    LogLevel.FATAL: logging.CRITICAL,
}
# Without the values of local variables: they hold passwords.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def configure_logs(level: LogLevel, *, service: str) -> None:
    """Set up logging of this process, on standard error; libraries join in from WARNING up."""
    steps: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(service),
        _show_account,
    ]
    readable = sys.stderr.isatty()
    if readable:
        steps.append(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
        factory: Any = structlog.PrintLoggerFactory(sys.stderr)
    else:
        steps += [_TRACEBACKS, structlog.processors.JSONRenderer(serializer=_dump)]
        factory = structlog.BytesLoggerFactory(sys.stderr.buffer)
    structlog.configure(
        processors=steps,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)


class _Forward(logging.Handler):
    """Lines of libraries, in our form. Their arguments may hold secrets of strangers: only the text is kept."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(record.levelno, logging.CRITICAL)
        structlog.get_logger().log(level, "library", logger=record.name, text=record.getMessage()[:500])


def _named(service: str) -> Any:
    def add_service(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
        event.setdefault("service", service)
        return event

    return add_service


def _show_account(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Services name an account by its token; people know its id."""
    if isinstance(account := event.get("account"), str):
        event["account"] = shown_account(account)
    return event


def _dump(event: Any, **_: Any) -> bytes:
    return orjson.dumps(event, default=str)
