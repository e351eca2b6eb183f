"""Whether our settings have the keys, types, values and defaults of the contract.

Three kinds of input are told apart by their content:
  * an OpenAPI document: keys and types of POST /v1/settings, readable keys and defaults of GET /v1/settings;
  * a JSON Schema of the settings model;
  * plain values, as a fresh installation answers GET /v1/settings when asked for every key.

Judge `defaults` by one of the latter two: the facts tell effective defaults, which do not belong into the body of
POST /v1/settings. Keys that only the old API had, and keys hidden from the newest document, are optional.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.contract.checker.compare import same_type
from tests.contract.checker.facts import API_SHAPE, SETTINGS
from tests.contract.checker.openapi_view import Document, DocumentError, Node, json_type, same_value

READ, WRITE = "GET /v1/settings", "POST /v1/settings"
HIDDEN = "hidden from OpenAPI document"  # how the facts word the type of a key without one
UNCHECKED = object()  # a default told in words, or an object, whose parts are keys of their own


@dataclass(frozen=True, slots=True)
class Setting:
    """One key as the contract has it."""

    key: str
    type: str
    default: Any
    choices: tuple[Any, ...]
    optional: bool


@dataclass(frozen=True, slots=True)
class Product:
    """What is known about the product's settings, whichever input it came from."""

    document: Document
    model: Node  # what may be set, or the model itself
    effective: Node  # where defaults are told
    readable: frozenset[str] | None = None  # None: the input does not say
    values_only: bool = False  # then null and empty lists say nothing about what is inside

    def find(self, key: str) -> Node | None:
        """The place of a key, by its dotted path."""
        return self.document.field(self.model, key)

    def default(self, key: str) -> Any:
        """Default of a key; None when nothing is declared."""
        declared = [self.document.field(root, key) for root in (self.effective, self.model)]
        defaults = (node.default for node in declared if node)
        return next((value for value in defaults if value is not None), None)


@dataclass(frozen=True, slots=True)
class Result:
    """One check of one key."""

    setting: Setting
    metric: str  # keys, readable, types, enums or defaults
    passed: bool
    detail: str = ""


def settings_faults(source: dict[str, Any]) -> list[Result]:
    """All failed checks of the keys that are not optional, in contract order."""
    product = read_product(source)
    needed = [setting for setting in load_settings() if not setting.optional]
    return [result for setting in needed for result in check(setting, product) if not result.passed]


def load_settings() -> list[Setting]:
    """All keys of the contract; the API's shape tells which of the older keys are still there."""
    facts = json.loads(SETTINGS.read_text(encoding="utf-8"))["settings"]
    operation = json.loads(API_SHAPE.read_text(encoding="utf-8"))["operations"][WRITE]
    current = {field["path"] for field in operation["body"]["fields"]}
    return [_setting(key, fact, current) for key, fact in facts.items()]


def _setting(key: str, fact: dict[str, Any], current: set[str]) -> Setting:
    hidden = fact["type"] == HIDDEN
    return Setting(
        key=key,
        type="any" if hidden else fact["type"],
        default=UNCHECKED if fact["type"] == "object" else literal_default(fact.get("default"), fact["type"]),
        choices=tuple(fact.get("enum", ())),
        optional=hidden or (fact["tier"] != "S" and key not in current),
    )


def literal_default(told: Any, kind: str) -> Any:
    """A default in the key's own type: `from SOME_ENV, else 2525` -> 2525; UNCHECKED for other prose."""
    if not isinstance(told, str) or " " not in told:
        return told
    found = re.fullmatch(r"from \w+, else (\S+)", told)
    if not found:
        return UNCHECKED
    return found[1] if kind == "string" and found[1] != "null" else json.loads(found[1])


def read_product(loaded: dict[str, Any]) -> Product:
    """Whatever kind of input this is, as a product."""
    if "openapi" in loaded:
        return _from_openapi(Document(loaded))
    if loaded.keys() & {"properties", "$ref", "allOf", "anyOf"}:
        return _from_model(loaded)
    return _from_model(schema_of_values(loaded), values_only=True)


def _from_openapi(document: Document) -> Product:
    operations = document.operations()
    if READ not in operations or WRITE not in operations:
        raise DocumentError(f"the document lacks {READ} or {WRITE}")
    nothing = document.node({"type": "object"})
    readable = (name for place, name in operations[READ].params if place == "query")
    return Product(
        document,
        model=_first(operations[WRITE].bodies) or nothing,
        effective=_first(operations[READ].responses.get("200", {})) or nothing,
        readable=frozenset(readable),
    )


def _from_model(schema: dict[str, Any], *, values_only: bool = False) -> Product:
    document = Document(schema)
    node = document.node(schema)
    return Product(document, model=node, effective=node, values_only=values_only)


def _first(nodes: dict[str, Node]) -> Node | None:
    return nodes.get("application/json") or next(iter(nodes.values()), None)


def schema_of_values(value: Any) -> dict[str, Any]:
    """A schema whose types and defaults are the values; null may be of any type."""
    if isinstance(value, dict):
        return {"type": "object", "properties": {k: schema_of_values(v) for k, v in value.items()}, "default": value}
    if isinstance(value, list):
        return {"type": "array", "items": schema_of_values(value[0]) if value else {}, "default": value}
    return {} if value is None else {"type": json_type(value), "default": value}


def check(setting: Setting, product: Product) -> Iterator[Result]:
    """All checks of one key. Only whole keys can be asked for, not their parts."""
    node = product.find(setting.key)
    is_part = re.search(r"[.\[]", setting.key) is not None
    if node is None and is_part and product.values_only:
        return
    yield Result(setting, "keys", node is not None, "missing")
    if product.readable is not None and not is_part:
        yield Result(setting, "readable", setting.key in product.readable, f"not a query parameter of {READ}")
    if node is None:
        return
    types = "|".join(sorted(node.types))
    yield Result(setting, "types", same_type(setting.type, node.types), f"contract {setting.type}, product {types}")
    if setting.choices and product.readable is not None:
        yield _check_choices(setting, node)
    if setting.default is not UNCHECKED:
        yield _check_default(setting, product.default(setting.key))


def _check_choices(setting: Setting, node: Node) -> Result:
    absent = [value for value in setting.choices if not node.accepts(value)]
    detail = f"missing {absent}" if node.choices else f"product lists no values, contract {list(setting.choices)}"
    return Result(setting, "enums", bool(node.choices) and not absent, detail)


def _check_default(setting: Setting, actual: Any) -> Result:
    agrees = same_value(unset_as_none(setting.default), unset_as_none(actual))
    return Result(setting, "defaults", agrees, f"contract {setting.default!r}, product {actual!r}")


def unset_as_none(value: Any) -> Any:
    """False, empty text and an empty list work like a setting that was never made."""
    return None if value is False or value in ("", []) else value
