"""Turn contract operations back into an OpenAPI 3.1 document: the perfect product, to take single things away from."""

import re
from typing import Any

from tests.contract.checker.contract_shape import ContractOperation, Field, Response
from tests.contract.checker.openapi_view import json_type, split_path

Schema = dict[str, Any]


def fake_document(operations: list[ContractOperation]) -> Schema:
    """A document that has every operation, field, status code, default and value of the contract."""
    paths: Schema = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {"openapi": "3.1.0", "info": {"title": "fake", "version": "0"}, "paths": paths}


def _operation(operation: ContractOperation) -> Schema:
    names = re.findall(r"\{([^}]*)\}", operation.path)
    params = [_param("path", name, field) for name, field in zip(names, operation.path_params, strict=False)]
    params += [_param(place, name, field) for (place, name), field in operation.params.items()]
    made: Schema = {"parameters": params, "responses": {s: _response(r) for s, r in operation.responses.items()}}
    if operation.body_media:
        made["requestBody"] = {"content": {operation.body_media: {"schema": schema_of(operation.body)}}}
    return made


def _param(place: str, name: str, field: Field) -> Schema:
    return {"in": place, "name": name, "required": bool(field.required), "schema": _leaf(field)}


def _response(response: Response) -> Schema:
    return {"content": {response.media or "application/json": {"schema": schema_of(response.fields)}}}


def schema_of(fields: tuple[Field, ...]) -> Schema:
    """Nested schema for a list of dotted paths."""
    root: Schema = {"type": "object"}
    for field in fields:
        _put(root, split_path(field.path), field)
    return root


def _put(schema: Schema, steps: list[str], field: Field) -> None:
    """Walk down to the parent, making what is missing, and put the field there."""
    holder = _structured_part(schema)
    step, rest = steps[0], steps[1:]
    slot, name = (holder, "items") if step == "[]" else (holder.setdefault("properties", {}), step)
    if rest:
        _put(slot.setdefault(name, {}), rest, field)
        return
    slot[name] = _leaf(field)
    if field.required and step != "[]":
        holder.setdefault("required", []).append(step)


def _structured_part(schema: Schema) -> Schema:
    """The alternative that has properties or items."""
    branches: list[Schema] = schema.get("anyOf", [])
    return next((b for b in branches if b.get("type") in ("object", "array")), schema)


def _leaf(field: Field) -> Schema:
    schema: Schema = {} if field.type == "any" else {"type": field.type}
    if field.choices:
        schema["enum"] = list(field.choices)
    others = [{"const": value, "type": json_type(value)} for value in field.also]
    others += [{"type": "null"}] if field.nullable else []
    schema = {"anyOf": [schema, *others]} if others else schema
    return schema if field.default is None else {**schema, "default": field.default}
