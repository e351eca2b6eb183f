"""Hold our OpenAPI document to the contract: every difference is either gone or listed in `not_yet.json` with a reason.

The list is `{operation: {difference: reason}}`. An operation is `GET /v1/account/{account}`; a difference reads

    body oauth2.auth              a field is missing (with everything inside it)
    query page (default)          a fact about a field differs: type, required, enum, default, nullable
    404 (status)                  a status code is not documented
    200 (media)                   another content type
    operation                     the operation is missing

`*` stands for any text, in both: `{"*": {"body oauth2.*": "reason"}}` speaks of a subtree in every operation.
An entry that matches no difference any more fails, too, so that the list can only shrink.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.contract.checker.check_api import check_operations, contract_operations, fold_missing
from tests.contract.checker.compare import Finding, Report

MISSING_OPERATION = "operation"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which a document falls short of the contract."""

    operation: str
    what: str  # as not_yet.json names it
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.operation}: {self.what}  {self.detail}".rstrip()


@dataclass(frozen=True, slots=True)
class Excuse:
    """One entry of not_yet.json; both texts may hold `*`."""

    operation: str
    what: str
    reason: str

    def covers(self, difference: Difference) -> bool:
        """Whether this entry speaks of the difference."""
        return _matches(self.operation, difference.operation) and _matches(self.what, difference.what)

    def __str__(self) -> str:
        return f"{self.operation}: {self.what}"


def assert_covers(document: dict[str, Any], operations: Sequence[str], not_yet: Path) -> None:
    """Fail with every unlisted difference between the document and the named operations of the contract.

    Also fails for entries of `not_yet` that are outdated, have no reason, or name an operation the contract lacks.
    An entry with `*` in its operation is judged only when all the operations it matches are given.
    """
    known = contract_operations()
    if unknown := [name for name in operations if name not in known]:
        raise AssertionError(f"not in the contract: {', '.join(unknown)}")
    excuses = load_excuses(json.loads(not_yet.read_text(encoding="utf-8")))
    found = differences(document, operations)
    lines = [f"differs   {d}" for d in found if not any(excuse.covers(d) for excuse in excuses)]
    lines += [f"outdated  {e}" for e in excuses if _is_judged(e, operations) and not any(map(e.covers, found))]
    lines += [f"no reason {e}" for e in excuses if not e.reason.strip()]
    if lines:
        raise AssertionError(f"{len(lines)} differences from the contract or {not_yet.name}:\n" + "\n".join(lines))


def differences(document: dict[str, Any], operations: Sequence[str]) -> list[Difference]:
    """All differences in the named operations; of nested missing fields only the outermost."""
    return [found for report in check_operations(document, operations) for found in _differences_of(report)]


def load_excuses(listed: Mapping[str, Mapping[str, str]]) -> list[Excuse]:
    """The entries of a not_yet.json, parsed."""
    return [Excuse(name, what, reason) for name, entries in listed.items() for what, reason in entries.items()]


def _differences_of(report: Report) -> Iterator[Difference]:
    name = report.operation.name
    if not report.present:
        yield Difference(name, MISSING_OPERATION)
    for finding in fold_missing(report.findings):
        yield Difference(name, _what(finding), finding.detail)


def _what(finding: Finding) -> str:
    place = f"{finding.where} {finding.path}".rstrip()
    return place if finding.kind == "missing" else f"{place} ({finding.kind})"


def _is_judged(excuse: Excuse, operations: Sequence[str]) -> bool:
    """Whether all the operations an entry speaks of are looked at; one that speaks of none is outdated anyway."""
    return all(name in operations for name in contract_operations() if _matches(excuse.operation, name))


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None
