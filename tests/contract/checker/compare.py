"""Compare one contract operation with what the product documents, and keep count.

A field counts as covered when it is there under the contract's name and its type is not clearly another one.
Required-ness, allowed values, defaults and null are judged on covered fields only and counted on their own.
Anything the product documents beyond the contract is fine.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.contract.checker.contract_shape import ContractOperation, Field, Response
from tests.contract.checker.openapi_view import UNKNOWN, Document, Node, Operation, same_value

METRICS = {  # what is counted, in the order of the tables
    "operations": "operations present",
    "request": "request fields present with the right type",
    "response": "fields of 2xx answers present with the right type",
    "errors": "fields of error answers present",
    "statuses": "status codes documented",
    "media": "content types of bodies and 2xx answers",
    "required": "required-ness agrees",
    "enums": "all allowed values accepted",
    "defaults": "default agrees",
    "nullable": "null accepted where the contract accepts it",
}
_NUMERIC = frozenset({"integer", "number"})


@dataclass
class Tally:
    """How many of a total passed."""

    passed: int = 0
    total: int = 0

    def count(self, passed: bool, weight: int = 1) -> None:
        """Take one more result into account."""
        self.total += weight
        self.passed += weight if passed else 0

    def add(self, other: "Tally") -> None:
        """Take all of another tally's results into account."""
        self.passed += other.passed
        self.total += other.total

    @property
    def percent(self) -> float:
        """Share that passed; 100 of nothing at all."""
        return 100.0 * self.passed / self.total if self.total else 100.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `where` is query, header, path, body or a status code."""

    kind: str  # missing, type, required, enum, default, nullable, media, status
    where: str
    path: str
    detail: str = ""


@dataclass
class Report:
    """Everything found about one contract operation."""

    operation: ContractOperation
    present: bool = True
    findings: list[Finding] = field(default_factory=list)
    extras: list[Finding] = field(default_factory=list)
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))

    def note(self, metric: str, passed: bool, finding: Finding) -> bool:
        """Count a result and keep the finding when it is a bad one."""
        self.tallies[metric].count(passed)
        if not passed:
            self.findings.append(finding)
        return passed


def compare(contract: Iterable[ContractOperation], document: Document) -> list[Report]:
    """Reports for all contract operations, in contract order."""
    product = document.operations()
    return [_Comparison(operation, document, product.get(operation.key)).run() for operation in contract]


class _Comparison:
    """One operation of the contract against its counterpart, if there is one."""

    def __init__(self, contract: ContractOperation, document: Document, product: Operation | None) -> None:
        self._contract = contract
        self._document = document
        self._present = product is not None
        self._product = product or Operation((), {}, {}, {})
        self._report = Report(contract, self._present)

    def run(self) -> Report:
        """Compare everything; a missing operation counts all its fields as missing but lists none of them."""
        self._report.tallies["operations"].count(self._present)
        self._compare_path_params()
        self._compare_params()
        self._compare_body()
        for status, response in self._contract.responses.items():
            self._compare_response(status, response)
        if not self._present:
            self._report.findings.clear()
        return self._report

    def _compare_path_params(self) -> None:
        """By position: the names are the product's own business."""
        for index, expected in enumerate(self._contract.path_params):
            known = index < len(self._product.path_params)
            self._request_field("path", expected, self._product.path_params[index] if known else None)

    def _compare_params(self) -> None:
        for (place, name), expected in self._contract.params.items():
            self._request_field(place, expected, self._product.params.get((place, name)))
        for place, name in self._product.params.keys() - self._contract.params.keys():
            self._report.extras.append(Finding("extra", place, name))

    def _compare_body(self) -> None:
        if self._contract.body_media is None:
            return
        node = self._pick_media("body", self._contract.body_media, self._product.bodies)
        for expected, actual in self._pairs("body", self._contract.body, node):
            self._request_field("body", expected, actual)

    def _compare_response(self, status: str, expected: Response) -> None:
        documented = _response_for(status, self._product.responses)
        finding = Finding("status", status, "", "status code not documented")
        self._report.note("statuses", documented is not None, finding)
        if not status.startswith("2"):
            self._error_fields(status, expected, documented)
            return
        node = self._pick_media(status, expected.media, documented or {})
        for shape, actual in self._pairs(status, expected.fields, node):
            self._response_field(status, shape, actual)

    def _error_fields(self, status: str, expected: Response, documented: dict[str, Node] | None) -> None:
        """The contract names error fields without types. An undocumented status is a finding of its own already."""
        for shape, actual in self._pairs(status, expected.fields, _json_media(documented or {})):
            self._report.tallies["errors"].count(actual is not None)
            if documented is not None and actual is None:
                self._report.findings.append(Finding("missing", status, shape.path))

    def _request_field(self, where: str, expected: Field, actual: Node | None) -> None:
        if actual is None:
            self._missing("request", where, expected)
        elif self._type_agrees("request", where, expected, actual):
            self._check_required(where, expected, actual)
            self._check_values(where, expected, actual)
            self._check_default(where, expected, actual)
            self._check_null(where, expected, actual)

    def _response_field(self, where: str, expected: Field, actual: Node | None) -> None:
        """Answers may promise more and name fewer values, so fewer checks apply than to a request."""
        if actual is None:
            self._missing("response", where, expected)
        elif self._type_agrees("response", where, expected, actual):
            if expected.required:
                self._check_required(where, expected, actual)
            if expected.choices and actual.choices:
                self._check_choices(where, expected, actual)

    def _missing(self, metric: str, where: str, expected: Field) -> None:
        self._report.note(metric, False, Finding("missing", where, expected.path, expected.type))

    def _type_agrees(self, metric: str, where: str, expected: Field, actual: Node) -> bool:
        detail = f"contract {expected.type}, product {'|'.join(sorted(actual.types))}"
        finding = Finding("type", where, expected.path, detail)
        return self._report.note(metric, same_type(expected.type, actual.types), finding)

    def _check_required(self, where: str, expected: Field, actual: Node) -> None:
        if expected.required is None or not actual.required:
            return
        words = {True: "required", False: "optional"}
        detail = f"contract {words[expected.required]}, product {words[not expected.required]}"
        agrees = expected.required in actual.required
        self._report.note("required", agrees, Finding("required", where, expected.path, detail))

    def _check_values(self, where: str, expected: Field, actual: Node) -> None:
        refused = [value for value in expected.also if not actual.accepts(value)]
        if expected.also:
            detail = f"not accepted: {refused}"
            self._report.note("enums", not refused, Finding("enum", where, expected.path, detail))
        if expected.choices and not actual.choices:
            detail = f"product lists no values, contract {list(expected.choices)}"
            self._report.note("enums", False, Finding("enum", where, expected.path, detail))
        elif expected.choices:
            self._check_choices(where, expected, actual)

    def _check_choices(self, where: str, expected: Field, actual: Node) -> None:
        missing = [value for value in expected.choices if not actual.accepts(value)]
        self._report.note("enums", not missing, Finding("enum", where, expected.path, f"missing {missing}"))

    def _check_default(self, where: str, expected: Field, actual: Node) -> None:
        if where == "path" or (expected.default is None and actual.default is None):
            return
        detail = f"contract {_show(expected.default)}, product {_show(actual.default)}"
        agrees = same_default(expected.default, actual.default)
        self._report.note("defaults", agrees, Finding("default", where, expected.path, detail))

    def _check_null(self, where: str, expected: Field, actual: Node) -> None:
        if expected.nullable and where == "body":
            finding = Finding("nullable", where, expected.path, "contract accepts null, product does not")
            self._report.note("nullable", actual.accepts(None), finding)

    def _pairs(self, where: str, fields: tuple[Field, ...], root: Node | None) -> Iterator[tuple[Field, Node | None]]:
        """Each contract field with the product's place for it; on the way, collects fields only the product has."""
        for expected in fields:
            yield expected, self._document.field(root, expected.path) if root else None
        if root:
            known = {f.path for f in fields}
            parents = dict.fromkeys(f.parent for f in fields)
            extras = (path for parent in parents for path in self._children(root, parent) if path not in known)
            self._report.extras += [Finding("extra", where, path) for path in extras]

    def _children(self, root: Node, parent: str) -> list[str]:
        node = self._document.field(root, parent)
        names = self._document.property_names(node) if node else []
        return [f"{parent}.{name}" if parent else name for name in names]

    def _pick_media(self, where: str, expected: str | None, documented: dict[str, Node]) -> Node | None:
        if expected is None:  # the contract does not say
            return _json_media(documented)
        known = _has_media(expected, documented)
        self._report.tallies["media"].count(known)
        if documented and not known:  # without any, the status or all fields are reported missing
            detail = f"contract {expected}, product {', '.join(documented)}"
            self._report.findings.append(Finding("media", where, "", detail))
        return documented.get(expected) or _json_media(documented)


def same_type(expected: str, actual: frozenset[str]) -> bool:
    """False only when the types clearly differ; integer and number pass for each other."""
    if UNKNOWN in actual or expected == UNKNOWN or expected in actual:
        return True
    return expected in _NUMERIC and bool(actual & _NUMERIC)


def same_default(expected: Any, actual: Any) -> bool:
    """Defaults agree when equal; false and no default are the same, as an unset boolean reads as false."""
    return same_value(expected, actual) or (_is_unset(expected) and _is_unset(actual))


def _is_unset(value: Any) -> bool:
    return value is None or value is False


def _show(value: Any) -> str:
    return "none" if value is None else repr(value)


def _has_media(expected: str, documented: dict[str, Node]) -> bool:
    family = expected.split("/")[0]
    return any(name in documented for name in (expected, f"{family}/*", "*/*"))


def _json_media(documented: dict[str, Node]) -> Node | None:
    """The JSON variant if there is one, else the first."""
    names = sorted(documented, key=lambda name: "json" not in name)
    return documented[names[0]] if names else None


def _response_for(status: str, documented: dict[str, dict[str, Node]]) -> dict[str, Node] | None:
    """Answer for a status: exact, as a range (`4XX`), or `default`, which stands for errors only."""
    for name in (status, f"{status[0]}XX", f"{status[0]}xx"):
        if name in documented:
            return documented[name]
    return None if status.startswith("2") else documented.get("default")
