"""A document made from the contract has no differences, and exactly what is taken away from it is noticed."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.checker.check_api import check_operations, contract_operations, coverage_table, total
from tests.contract.checker.compare import Finding
from tests.unit.contract.fake_openapi import fake_document

PERFECT = fake_document(list(contract_operations().values()))
ACCOUNT = "/v1/account"
SEARCH = "/v1/account/{account}/search"

Paths = dict[str, Any]


def _findings(change: Callable[[Paths], object]) -> list[Finding]:
    """All findings for the perfect document after a change to its paths."""
    document = copy.deepcopy(PERFECT)
    change(document["paths"])
    return [finding for report in check_operations(document, contract_operations()) for finding in report.findings]


def _body(paths: Paths, path: str, method: str = "post") -> dict[str, Any]:
    schema: dict[str, Any] = paths[path][method]["requestBody"]["content"]["application/json"]["schema"]
    return schema


def _answer(paths: Paths, path: str, method: str, status: str = "200") -> dict[str, Any]:
    schema: dict[str, Any] = paths[path][method]["responses"][status]["content"]["application/json"]["schema"]
    return schema


def _param(paths: Paths, path: str, method: str, name: str) -> dict[str, Any]:
    return next(p for p in paths[path][method]["parameters"] if p["name"] == name)


def test_a_document_made_from_the_contract_covers_all_of_it() -> None:
    reports = check_operations(PERFECT, contract_operations())
    assert [finding for report in reports for finding in report.findings] == []
    assert {tally.percent for tally in total(reports).values()} == {100.0}
    assert "83/83 100.0%" in coverage_table(reports)[-1]


def test_an_empty_document_covers_nothing() -> None:
    totals = total(check_operations({"openapi": "3.1.0", "paths": {}}, contract_operations()))
    for metric in ("operations", "request", "response", "errors", "statuses", "media"):
        assert totals[metric].passed == 0, metric
        assert totals[metric].total > 0, metric


def _drop_body_field(paths: Paths) -> None:
    del _body(paths, ACCOUNT)["properties"]["email"]


def _drop_item_field(paths: Paths) -> None:
    messages = _answer(paths, "/v1/account/{account}/messages", "get")["properties"]["messages"]
    del messages["items"]["properties"]["from"]["properties"]["address"]


def _drop_status(paths: Paths) -> None:
    del paths["/v1/stats"]["get"]["responses"]["403"]


def _spoil_type(paths: Paths) -> None:
    _param(paths, SEARCH, "post", "useOutlookSearch")["schema"]["type"] = "string"


def _loosen(paths: Paths) -> None:
    _body(paths, ACCOUNT)["required"].remove("name")


def _drop_choice(paths: Paths) -> None:
    _body(paths, ACCOUNT)["properties"]["imapIndexer"]["anyOf"][0]["enum"].remove("fast")


def _spoil_default(paths: Paths) -> None:
    _param(paths, SEARCH, "post", "pageSize")["schema"]["default"] = 50


def _refuse_null(paths: Paths) -> None:
    copied = _body(paths, ACCOUNT)["properties"]["copy"]
    copied["anyOf"] = [branch for branch in copied["anyOf"] if branch["type"] != "null"]


def _spoil_media(paths: Paths) -> None:
    source = paths["/v1/account/{account}/message/{message}/source"]["get"]["responses"]["200"]
    source["content"] = {"application/json": {"schema": {}}}


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (_drop_body_field, Finding("missing", "body", "email", "string")),
        (_drop_item_field, Finding("missing", "200", "messages[].from.address", "string")),
        (_drop_status, Finding("status", "403", "", "status code not documented")),
        (_spoil_type, Finding("type", "query", "useOutlookSearch", "contract boolean, product string")),
        (_loosen, Finding("required", "body", "name", "contract required, product optional")),
        (_drop_choice, Finding("enum", "body", "imapIndexer", "missing ['fast']")),
        (_spoil_default, Finding("default", "query", "pageSize", "contract 20, product 50")),
        (_refuse_null, Finding("nullable", "body", "copy", "contract accepts null, product does not")),
        (_spoil_media, Finding("media", "200", "", "contract message/rfc822, product application/json")),
    ],
)
def test_what_is_taken_away_or_spoiled_is_the_only_finding(change: Callable[[Paths], None], finding: Finding) -> None:
    assert _findings(change) == [finding]


def test_names_of_path_parameters_are_free() -> None:
    def rename(paths: Paths) -> None:
        item = paths.pop("/v1/outbox/{queueId}")
        for operation in item.values():
            next(p for p in operation["parameters"] if p["in"] == "path")["name"] = "job"
        paths["/v1/outbox/{job}"] = item

    assert _findings(rename) == []


def test_open_schemas_and_additional_fields_are_fine() -> None:
    def widen(paths: Paths) -> None:
        _param(paths, SEARCH, "post", "page")["schema"]["type"] = "number"
        _body(paths, ACCOUNT)["properties"] |= {"email": {}, "colour": {"type": "string"}}

    assert _findings(widen) == []


def test_errors_may_be_documented_as_a_range_or_as_default() -> None:
    def fold(paths: Paths) -> None:
        responses = paths["/v1/stats"]["get"]["responses"]
        responses["4XX"] = responses.pop("429")
        responses["default"] = responses.pop("500")

    assert _findings(fold) == []
