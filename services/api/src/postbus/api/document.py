"""The OpenAPI document: what FastAPI gathers, in the words of the contract. `python -m postbus.api.document` prints it.

Errors have our shape instead of FastAPI's 422, and "not given" is no default.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from postbus.api.schemas.errors import BadRequest, ErrorAnswer, InternalError, NotUsable, TooManyRequests
from postbus.common.version import __version__

SECURITY_SCHEME = "basic"
_METHODS = ("get", "post", "put", "delete")

_ERRORS: dict[int, tuple[type[BaseModel], str]] = {
    400: (BadRequest, "The request is wrong; everything that is wrong with it is listed"),
    401: (ErrorAnswer, "User or password are wrong, or missing"),
    404: (ErrorAnswer, "There is no such account, mailbox, message, text or attachment"),
    409: (ErrorAnswer, "Others keep changing the same thing, try again; or it is the key of another message"),
    413: (ErrorAnswer, "The request is too large"),
    429: (TooManyRequests, "Somebody else is at it; `ttl` says for how many seconds at most"),
    422: (ErrorAnswer, "The mail server lacks an extension that this needs"),
    500: (InternalError, "A mistake of this service"),
    502: (ErrorAnswer, "The mail server did not take the message"),
    503: (NotUsable, "The account, or a part of this service, can't work now; try again later"),
    504: (ErrorAnswer, "The mail server did not answer in time"),
}

_DESCRIPTION = """
Email accounts as a REST API: register IMAP and SMTP accounts, read their mailboxes, hear about new mail by webhook,
send replies.

* JSON in and out, UTF-8. Fields and query arguments that an operation does not know are refused.
* The id of an account may be any text. In a path, `/` in it is written `%2F`.
* Message, text and attachment ids name a position in a mailbox; they come from listings and events.
* Errors are `{statusCode, error, message}`, with `code` for programs, and with `fields` where the request is wrong.
* The header `x-ee-timeout` says how many milliseconds a request may wait for a mail server.
""".strip()

TAGS = [
    {"name": "Account", "description": "The accounts this service keeps connected"},
    {"name": "Mailbox", "description": "The mailboxes of an account"},
    {"name": "Message", "description": "Listings, messages, their text and attachments"},
    {"name": "Multi Message Actions", "description": "Changing, moving and deleting all messages a search finds"},
    {"name": "Logs", "description": "What happened between an account and its mail servers"},
    {"name": "Submit", "description": "Sending messages"},
    {"name": "Settings", "description": "Settings of the running system: webhooks, the authentication server ..."},
    {"name": "Stats", "description": "What this installation does, and whether it can"},
]


def errors_of(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for these error statuses."""
    return {status: {"model": _ERRORS[status][0], "description": _ERRORS[status][1]} for status in statuses}


def build_document(app: FastAPI, *, with_auth: bool = True) -> dict[str, Any]:
    """The document of the application. `with_auth`: its operations ask for user and password."""
    document = get_openapi(
        title="Postbus",
        version=__version__,
        summary="Email accounts as a REST API",
        description=_DESCRIPTION,
        routes=app.routes,
        tags=TAGS,
        license_info={"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
    )
    for item in document["paths"].values():
        for method in _METHODS:
            if method in item:
                _tidy_operation(item[method])
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    scheme = {"type": "http", "scheme": "basic", "description": "User and password of EENGINE_AUTH, if that is set"}
    document["components"]["securitySchemes"] = {SECURITY_SCHEME: scheme}
    # The empty alternative: without EENGINE_AUTH nobody has to log in.
    document["security"] = [{SECURITY_SCHEME: []}] if with_auth else [{SECURITY_SCHEME: []}, {}]
    _drop_null_defaults(document)
    return document


def _tidy_operation(operation: dict[str, Any]) -> None:
    own = operation["responses"].get("422", {}).get("description") == _ERRORS[422][1]
    if not own:  # FastAPI's, for requests that are wrong
        operation["responses"].pop("422", None)
    operation["operationId"] = operation["operationId"].split("_v1_")[0]


def _drop_null_defaults(node: Any) -> None:
    """A default of null only means "not given"."""
    if isinstance(node, dict):
        if "default" in node and node["default"] is None:
            del node["default"]
        for value in node.values():
            _drop_null_defaults(value)
    elif isinstance(node, list):
        for value in node:
            _drop_null_defaults(value)


def render_document(document: dict[str, Any]) -> bytes:
    """The document as a file: readable, and the same each time."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


@cache
def own_document(*, with_auth: bool) -> bytes:
    """The document of this version, made once: that takes half a second, so call it in a thread."""
    from postbus.api.app import create_app

    return render_document(build_document(create_app(), with_auth=with_auth))


def main() -> None:
    """Print the document of this version."""
    sys.stdout.buffer.write(own_document(with_auth=False))


if __name__ == "__main__":
    main()
