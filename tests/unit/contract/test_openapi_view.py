"""How single fields are found in an OpenAPI document, whatever way its schemas are factored."""

from typing import Any

import pytest

from tests.contract.checker.openapi_view import Document, DocumentError, Node, normalise_path, split_path

STRING, INTEGER, NULL = {"type": "string"}, {"type": "integer"}, {"type": "null"}


def _find(schema: Any, path: str, **components: Any) -> Node | None:
    document = Document({"openapi": "3.1.0", "components": {"schemas": components}})
    return document.field(document.node(schema), path)


def _node(schema: Any, path: str, **components: Any) -> Node:
    node = _find(schema, path, **components)
    assert node is not None
    return node


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _model(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required or []}


def test_a_path_goes_through_references_lists_and_objects() -> None:
    listing = _model(messages={"type": "array", "items": _ref("Message")})
    message = _model(["from"], **{"from": _ref("Address")})
    node = _node(listing, "messages[].from.address", Message=message, Address=_model(address=STRING))
    assert node.types == {"string"}
    assert node.required == {False}


@pytest.mark.parametrize("path", ["b", "a[]", "a.b"])
def test_an_unknown_field_is_none(path: str) -> None:
    assert _find(_model(a=STRING), path) is None


@pytest.mark.parametrize(
    "schema",
    [{"anyOf": [STRING, NULL]}, {"type": "string", "nullable": True}, {"type": ["string", "null"]}],
)
def test_the_three_ways_to_allow_null_mean_the_same(schema: Any) -> None:
    node = _node(_model(a=schema), "a")
    assert node.types == {"string", "null"}
    assert node.accepts(None)


def test_allof_joins_properties_and_required() -> None:
    both = {"allOf": [_ref("Base"), _model(["b"], b=INTEGER)]}
    base = _model(["a"], a=STRING)
    assert _node(both, "a", Base=base).required == {True}
    assert _node(both, "b", Base=base).types == {"integer"}


def test_a_property_of_one_branch_only_is_not_required() -> None:
    login = {"oneOf": [_model(["user", "pass"], user=STRING, **{"pass": STRING}), _model(["user"], user=STRING)]}
    assert _node(login, "user").required == {True}
    assert _node(login, "pass").required == {True, False}


def test_recursive_schemas_unfold_as_far_as_asked() -> None:
    part = _model(name=STRING, children={"type": "array", "items": _ref("Part")})
    assert _node(_ref("Part"), "children[].children[].name", Part=part).types == {"string"}
    assert _find(_ref("Loop"), "a", Loop={"anyOf": [_ref("Loop"), _ref("Loop")]}) is None


def test_true_is_not_one() -> None:
    assert not _node(_model(a={"enum": [1]}), "a").accepts(True)


def test_parameter_names_and_trailing_slashes_do_not_matter() -> None:
    assert normalise_path("/v1/account/{account}/") == normalise_path("/v1/account/{account_id}")


def test_dotted_paths_are_split_at_dots_and_lists() -> None:
    assert split_path("a.b[].c[][]") == ["a", "b", "[]", "c", "[]", "[]"]


def test_other_documents_and_loose_references_are_refused() -> None:
    with pytest.raises(DocumentError):
        Document({"swagger": "2.0"}).operations()
    for reference in (_ref("Nowhere"), {"$ref": "other.json#/a"}):
        with pytest.raises(DocumentError):
            _find(reference, "a")
