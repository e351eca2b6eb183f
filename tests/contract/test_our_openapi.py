"""Our OpenAPI document against the contract, and the copy in the repository against the code."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from postbus.api.app import create_app
from postbus.api.document import build_document, render_document
from tests.contract.coverage import assert_covers

ROOT = Path(__file__).parents[2]
NOT_YET = Path(__file__).with_name("not_yet.json")
OPERATIONS = (
    "POST /v1/account",
    "GET /v1/account/{account}",
    "PUT /v1/account/{account}",
    "DELETE /v1/account/{account}",
    "PUT /v1/account/{account}/reconnect",
    "PUT /v1/account/{account}/sync",
    "PUT /v1/account/{account}/flush",
    "GET /v1/accounts",
    "GET /v1/account/{account}/mailboxes",
    "POST /v1/account/{account}/mailbox",
    "PUT /v1/account/{account}/mailbox",
    "DELETE /v1/account/{account}/mailbox",
    "GET /v1/account/{account}/messages",
    "POST /v1/account/{account}/search",
    "GET /v1/account/{account}/message/{message}",
    "POST /v1/account/{account}/message",
    "PUT /v1/account/{account}/message/{message}",
    "DELETE /v1/account/{account}/message/{message}",
    "PUT /v1/account/{account}/message/{message}/move",
    "PUT /v1/account/{account}/messages",
    "PUT /v1/account/{account}/messages/move",
    "PUT /v1/account/{account}/messages/delete",
    "GET /v1/account/{account}/message/{message}/source",
    "GET /v1/account/{account}/text/{text}",
    "GET /v1/account/{account}/attachment/{attachment}",
    "POST /v1/account/{account}/submit",
    "POST /v1/verifyAccount",
    "GET /v1/settings",
    "POST /v1/settings",
    "GET /v1/stats",
    "GET /v1/logs/{account}",
)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return build_document(create_app(), with_auth=False)


def test_the_document_covers_the_contract_but_for_what_is_listed(document: dict[str, Any]) -> None:
    assert_covers(document, OPERATIONS, NOT_YET)


def test_the_copy_in_the_repository_is_current(document: dict[str, Any]) -> None:
    """`python -m postbus.api.document > docs/openapi.json` makes it so."""
    assert (ROOT / "docs" / "openapi.json").read_bytes() == render_document(document)


def test_every_operation_is_explained(document: dict[str, Any]) -> None:
    operations = [one for item in document["paths"].values() for one in item.values()]
    assert all(one.get("summary") and one.get("description") and one.get("tags") for one in operations)
    names = [one["operationId"] for one in operations]
    assert len(set(names)) == len(names)


def test_every_field_is_explained(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    bare = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, facts in schema.get("properties", {}).items()
        if not facts.get("description")
    ]
    assert bare == []


def test_a_request_that_is_wrong_is_400_never_422(document: dict[str, Any]) -> None:
    assert b"HTTPValidationError" not in orjson.dumps(document)
    answers = {one["422"]["description"] for one in responses(document) if "422" in one}
    assert answers == {"The mail server lacks an extension that this needs"}


def responses(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [one["responses"] for item in document["paths"].values() for one in item.values()]
