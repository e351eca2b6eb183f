"""How much of the contract a document covers, in numbers: `python -m tests.contract.checker.check_api DOC.json`."""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from tests.contract.checker.compare import METRICS, Finding, Report, Tally, compare
from tests.contract.checker.contract_shape import ContractOperation, load_contract
from tests.contract.checker.facts import API_SHAPE
from tests.contract.checker.openapi_view import Document

TABLE_METRICS = ("operations", "request", "response", "errors", "statuses")

Tallies = dict[str, Tally]


@cache
def contract_operations() -> dict[str, ContractOperation]:
    """All operations of the contract by `METHOD /path`."""
    return {operation.name: operation for operation in load_contract(API_SHAPE)}


def check_operations(document: dict[str, Any], names: Iterable[str]) -> list[Report]:
    """Compare the named operations of the contract with a document. KeyError for a name that the contract lacks."""
    contract = contract_operations()
    return compare([contract[name] for name in names], Document(document))


def total(reports: Iterable[Report]) -> Tallies:
    """One tally per metric over all the reports."""
    sums = {name: Tally() for name in METRICS}
    for report in reports:
        for name, tally in report.tallies.items():
            sums[name].add(tally)
    return sums


def by_area(reports: Iterable[Report]) -> dict[str, Tallies]:
    """Totals per area, areas in alphabetical order."""
    grouped: dict[str, list[Report]] = defaultdict(list)
    for report in reports:
        grouped[report.operation.area].append(report)
    return {area: total(grouped[area]) for area in sorted(grouped)}


def fold_missing(findings: list[Finding]) -> list[Finding]:
    """Leave out missing fields inside a missing object or array: the outermost one tells enough."""
    gone = {(f.where, f.path) for f in findings if f.kind == "missing"}
    tops = [f for f in findings if f.kind != "missing" or not _outer(f, gone)]
    folded: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        if finding.kind == "missing" and (outer := _outer(finding, gone)):
            folded[finding.where, outer] += 1
    return [_with_count(f, folded[f.where, f.path]) if f.kind == "missing" else f for f in tops]


def coverage_table(reports: list[Report]) -> list[str]:
    """Lines of a table: one row per area, then the total; shares of the contract that the document covers."""
    rows = [["area", *TABLE_METRICS]]
    for area, tallies in [*by_area(reports).items(), ("TOTAL", total(reports))]:
        rows.append([area, *(_percent(tallies[name]) for name in TABLE_METRICS)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _outer(finding: Finding, gone: set[tuple[str, str]]) -> str | None:
    """Path of the outermost missing ancestor, if there is one."""
    ends = [i for i, char in enumerate(finding.path) if char in ".["]
    return next((finding.path[:end] for end in ends if (finding.where, finding.path[:end]) in gone), None)


def _with_count(finding: Finding, inside: int) -> Finding:
    return replace(finding, detail=f"{finding.detail} (+{inside} inside)") if inside else finding


def _percent(tally: Tally) -> str:
    return f"{tally.passed}/{tally.total} {tally.percent:5.1f}%" if tally.total else "-"


if __name__ == "__main__":
    print("\n".join(coverage_table(check_operations(json.loads(Path(sys.argv[1]).read_text()), contract_operations()))))
