"""Every failure as an answer: one table from class to HTTP status, one shape for the body (contract, section 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import nats.errors
import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from postbus.common import errors

log = structlog.get_logger()

MAX_FIELDS = 1000
MAX_KEY_CHARS = 200

STATUS: dict[type[errors.PostbusError], int] = {
    errors.BadInput: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Busy: 429,
    errors.TooLarge: 413,
    errors.AccountNotUsable: 503,
    errors.AuthenticationFailed: 503,
    errors.ConnectFailed: 503,
    errors.ConnectionLost: 503,
    errors.ProtocolError: 503,
    errors.CommandRefused: 400,
    errors.UploadFailed: 502,
    errors.NotSupported: 422,
    errors.Unavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.PostbusError: 500,
}

FAILURES = (errors.PostbusError, HTTPException, nats.errors.Error)  # what has an answer of its own

_TOP_LEVEL_DETAILS = ("state", "path", "ttl")
_MESSAGES = {
    404: "Requested page not found",
    405: "Method not allowed",
    413: "Payload content length greater than maximum allowed",
}
_IN_CONTRACT_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not allowed",
    "json_invalid": "Invalid request payload JSON format",
    "model_type": "should be an object",
    "model_attributes_type": "should be an object",
    "dict_type": "should be an object",
}


def status_of(error: errors.PostbusError) -> int:
    """The HTTP status for an error: that of its class, or of the nearest class above."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def install_error_handlers(app: FastAPI) -> None:
    """Make the application answer failures in our shape."""
    app.add_exception_handler(RequestValidationError, _on_invalid)
    for kind in FAILURES:
        app.add_exception_handler(kind, _on_failure)


def error_response(status: int, message: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """An answer in the shape of the contract; what is None is left out."""
    body = {"statusCode": status, "error": HTTPStatus(status).phrase, "message": _printable(message)}
    body |= {name: value for name, value in more.items() if value is not None}
    return Response(orjson.dumps(body, default=str), status, media_type="application/json", headers=dict(headers or {}))


def failure_response(error: Exception) -> Response:
    """The answer for one of FAILURES."""
    if isinstance(error, errors.PostbusError):
        return known_error_response(error)
    if isinstance(error, HTTPException):
        message = _MESSAGES.get(error.status_code, str(error.detail))
        return error_response(error.status_code, message, headers=error.headers)
    return error_response(503, f"bus: {error or type(error).__name__}", code="BusUnavailable")


def known_error_response(error: errors.PostbusError) -> Response:
    """The answer for an error of ours."""
    status = status_of(error)
    if status == 500:
        log.error("request failed", error=type(error).__name__, reason=error.message)
    if isinstance(error, errors.BadInput):
        code = error.code if error.code != errors.BadInput.code else None
        return error_response(status, error.message, code=code, fields=list(error.fields) or None)
    details = {name: value for name, value in error.details.items() if name not in _TOP_LEVEL_DETAILS}
    top = {name: error.details.get(name) for name in _TOP_LEVEL_DETAILS}
    return error_response(status, error.message, code=error.code, details=details or None, **top)


def invalid_fields(failures: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Failures of pydantic as the contract lists them: a message and a key, without what was given (traps, 99)."""
    fields: dict[tuple[str, str], dict[str, str]] = {}
    for failure in failures:
        key = _key(failure)
        message = _message(failure, key)
        fields[key, message] = {"message": message, "key": key}
        if len(fields) >= MAX_FIELDS:
            break
    return list(fields.values())


async def _on_failure(request: Request, error: Exception) -> Response:
    return failure_response(error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_response(400, "Invalid input", fields=invalid_fields(error.errors()))


def _key(failure: Mapping[str, Any]) -> str:
    place = [str(step) for step in failure["loc"][1:] if step != "[key]"]
    if failure["type"] == "json_invalid" or not place:
        return str(failure["loc"][0])
    return _printable(".".join(place))[:MAX_KEY_CHARS]


def _message(failure: Mapping[str, Any], key: str) -> str:
    words = _IN_CONTRACT_WORDS.get(failure["type"])
    if words:
        return words if failure["type"] == "json_invalid" else f'"{key}" {words}'
    if failure["type"] == "too_long" and isinstance(failure.get("input"), str):
        return f'"{key}" should have at most {failure["ctx"]["max_length"]} characters'
    text = str(failure["msg"]).removeprefix("Value error, ").splitlines() or [""]
    return _printable(text[0])


def _printable(text: str) -> str:
    """The text without lone surrogates, which JSON in UTF-8 can't hold."""
    return text.encode("utf-8", "replace").decode()
