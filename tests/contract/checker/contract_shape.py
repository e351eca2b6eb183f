"""The contract as `facts/openapi-shape.json` tells it: operations, their fields, and the area each belongs to."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.contract.checker.openapi_view import json_type, normalise_path

_TYPE_NAMES = {"date": "string", "anyOf": "any"}
_AREA_OF_ROOT = {  # first path segment, where the area has another name
    "accounts": "account",
    "authentication": "account",
    "autoconfig": "account",
    "verifyAccount": "account",
    "blocklist": "blocklists",
    "chat": "documentStore",
    "gateway": "gateways",
    "unified": "documentStore",
}
_AREA_OF_ACCOUNT_PART = {  # segment after /v1/account/{account}
    "attachment": "message",
    "contacts": "message",
    "export": "export",
    "exports": "export",
    "mailbox": "mailbox",
    "mailboxes": "mailbox",
    "message": "message",
    "messages": "message",
    "search": "message",
    "submit": "submit",
    "text": "message",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One named value of a request or a response. Unset facts are None or empty: the contract says nothing then."""

    path: str
    type: str = "any"
    required: bool | None = None
    nullable: bool = False
    default: Any = None
    choices: tuple[Any, ...] = ()  # the closed list of values
    also: tuple[Any, ...] = ()  # values let through besides the type, such as false for an object

    @property
    def parent(self) -> str:
        """Path of the object or array that holds this field; empty at the top."""
        return self.path[:-2] if self.path.endswith("[]") else self.path.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Response:
    """What the contract says about one status code."""

    media: str | None
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class ContractOperation:
    """One operation a client may call."""

    method: str
    path: str
    path_params: tuple[Field, ...]
    params: dict[tuple[str, str], Field]
    body_media: str | None
    body: tuple[Field, ...]
    responses: dict[str, Response]

    @property
    def name(self) -> str:
        """As people write it: `GET /v1/account/{account}`."""
        return f"{self.method} {self.path}"

    @property
    def key(self) -> str:
        """As documents are compared: parameter names removed."""
        return f"{self.method} {normalise_path(self.path)}"

    @property
    def area(self) -> str:
        """The part of the product it belongs to."""
        return area_of(self.path)


def area_of(path: str) -> str:
    """Area of a path: `/v1/account/{account}/messages` -> `message`."""
    segments = [s for s in path.split("/") if s and s != "v1"]
    if not segments:
        return "other"
    if segments[0] == "account" and len(segments) > 2:
        part = "submit" if segments[-1] == "submit" else segments[2]
        return _AREA_OF_ACCOUNT_PART.get(part, "account")
    return _AREA_OF_ROOT.get(segments[0], segments[0])


def load_contract(path: Path) -> list[ContractOperation]:
    """Read a shape file."""
    shapes = json.loads(path.read_text(encoding="utf-8"))["operations"]
    return [_operation(name, shape) for name, shape in shapes.items()]


def _operation(name: str, shape: dict[str, Any]) -> ContractOperation:
    method, path = name.split(" ", 1)
    body = shape.get("body") or {}
    responses = shape.get("responses") or {}
    return ContractOperation(
        method=method,
        path=path,
        path_params=tuple(_fields(shape.get("path", ())))[: path.count("{")],
        params={(place, f.path): f for place in ("query", "header") for f in _fields(shape.get(place, ()))},
        body_media=(body.get("contentType") or "application/json") if body else None,
        body=tuple(_fields(body.get("fields", ()))),
        responses={status: _response(response) for status, response in responses.items()},
    )


def _response(shape: dict[str, Any]) -> Response:
    return Response(shape.get("contentType"), tuple(_fields(shape.get("fields", ()))))


def _fields(shapes: Any) -> Iterator[Field]:
    """Fields in file order, without those below an `anyOf`, which exist in one alternative only."""
    open_paths: list[str] = []
    for shape in shapes:
        field = Field(shape) if isinstance(shape, str) else _field(shape)
        if field.type == "any" and not isinstance(shape, str):
            open_paths.append(field.path)
        if field.path and not any(field.path.startswith((f"{p}.", f"{p}[]")) for p in open_paths):
            yield field


def _field(shape: dict[str, Any]) -> Field:
    kind = _TYPE_NAMES.get(shape["type"], shape["type"])
    values = [*shape.get("enum", ()), *shape.get("allow", ())]
    return Field(
        path=shape["path"],
        type=kind,
        required=shape.get("required"),
        nullable=bool(shape.get("nullable")),
        default=shape.get("default"),
        choices=tuple(v for v in shape.get("enum", ()) if json_type(v) == kind),
        also=tuple(v for v in values if json_type(v) != kind),
    )
