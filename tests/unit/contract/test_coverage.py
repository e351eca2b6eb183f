"""`assert_covers`: every difference is listed with a reason, and the list holds nothing else."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract import assert_covers
from tests.contract.checker.check_api import contract_operations
from tests.unit.contract.fake_openapi import fake_document

CREATE, STATS = "POST /v1/account", "GET /v1/stats"
PERFECT = fake_document([contract_operations()[name] for name in (CREATE, STATS)])

Listed = dict[str, dict[str, str]]


@pytest.fixture
def not_yet(tmp_path: Path) -> Path:
    path = tmp_path / "not_yet.json"
    path.write_text("{}")
    return path


def _list(path: Path, listed: Listed) -> Path:
    path.write_text(json.dumps(listed))
    return path


def _without_oauth2() -> dict[str, Any]:
    document = copy.deepcopy(PERFECT)
    body = document["paths"]["/v1/account"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    del body["properties"]["oauth2"]
    return document


def _with_another_default() -> dict[str, Any]:
    document = copy.deepcopy(PERFECT)
    body = document["paths"]["/v1/account"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    body["properties"]["notifyFrom"]["default"] = "never"
    return document


def test_a_document_that_covers_the_operations_passes(not_yet: Path) -> None:
    assert_covers(PERFECT, [CREATE, STATS], not_yet)


def test_a_missing_object_is_one_difference(not_yet: Path) -> None:
    with pytest.raises(AssertionError, match=r"1 differences") as failure:
        assert_covers(_without_oauth2(), [CREATE], not_yet)
    assert f"differs   {CREATE}: body oauth2  object (+" in str(failure.value)


@pytest.mark.parametrize(
    "listed",
    [
        {CREATE: {"body oauth2": "needs apps"}},
        {CREATE: {"body oauth2*": "needs apps"}},
        {"*": {"body oauth2": "needs apps"}},
        {"POST /v1/acc*": {"* oauth2": "needs apps"}},
    ],
)
def test_a_listed_difference_is_excused_by_name_or_by_wildcard(not_yet: Path, listed: Listed) -> None:
    assert_covers(_without_oauth2(), [CREATE], _list(not_yet, listed))


def test_differing_facts_are_listed_by_field_and_kind(not_yet: Path) -> None:
    with pytest.raises(AssertionError, match=r"body notifyFrom \(default\)  contract 'now', product 'never'"):
        assert_covers(_with_another_default(), [CREATE], not_yet)
    assert_covers(
        _with_another_default(), [CREATE], _list(not_yet, {CREATE: {"body notifyFrom (default)": "on purpose"}})
    )


def test_a_missing_operation_is_one_difference(not_yet: Path) -> None:
    document = {**PERFECT, "paths": {"/v1/account": PERFECT["paths"]["/v1/account"]}}
    with pytest.raises(AssertionError, match=r"1 differences.*\ndiffers   GET /v1/stats: operation$"):
        assert_covers(document, [CREATE, STATS], not_yet)
    assert_covers(document, [CREATE, STATS], _list(not_yet, {STATS: {"operation": "next month"}}))


@pytest.mark.parametrize(
    "listed",
    [
        {CREATE: {"body oauth2": "was missing once"}},
        {"GET /v1/no-such-thing": {"operation": "never was there"}},
    ],
)
def test_an_entry_without_a_difference_fails(not_yet: Path, listed: Listed) -> None:
    with pytest.raises(AssertionError, match="outdated"):
        assert_covers(PERFECT, [CREATE], _list(not_yet, listed))


def test_entries_of_operations_that_are_not_looked_at_are_not_judged(not_yet: Path) -> None:
    assert_covers(PERFECT, [CREATE], _list(not_yet, {STATS: {"operation": "soon"}, "*": {"body oauth2": "soon"}}))


def test_a_difference_without_a_reason_fails(not_yet: Path) -> None:
    with pytest.raises(AssertionError, match="no reason"):
        assert_covers(_without_oauth2(), [CREATE], _list(not_yet, {CREATE: {"body oauth2": " "}}))


def test_an_operation_that_the_contract_lacks_fails(not_yet: Path) -> None:
    with pytest.raises(AssertionError, match="not in the contract: GET /v1/nothing"):
        assert_covers(PERFECT, ["GET /v1/nothing"], not_yet)
