"""Counters and gauges, as Prometheus reads them (text format 0.0.4), and their sum over many processes.

The first names are the incumbent's, without `_total`, so that its dashboards go on working. Every service renders its
own; the API asks them all and merges the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

MAX_EXPOSITION_SIZE = 4 * 1024 * 1024  # bytes; of one process

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

API_CALL = Counter("api_call", "HTTP requests answered", ["method", "statusCode", "route"], registry=REGISTRY)
IMAP_CONNECTIONS = Gauge("imap_connections", "Accounts by state of their connection", ["status"], registry=REGISTRY)
WEBHOOKS = Counter("webhooks", "Attempts to deliver a webhook", ["status", "event"], registry=REGISTRY)
EVENTS = Counter("events", "Events published", ["event"], registry=REGISTRY)
WEBHOOK_REQ = Histogram(
    "webhook_req",
    "Duration of an attempt to deliver a webhook, in milliseconds",
    buckets=(100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000, 60_000),
    registry=REGISTRY,
)
OUTBOX_DEPTH = Gauge("outbox_depth", "Events committed and not yet acknowledged by the bus", registry=REGISTRY)
FENCED = Counter("fenced_writes", "Writes refused because another worker owns the account", registry=REGISTRY)
HOLES = Counter("sync_holes", "Messages that a mail server did not tell of and a compare found", registry=REGISTRY)
RENDERED_HTML = Counter("rendered_html", "Messages whose HTML was asked for web-safe", ["outcome"], registry=REGISTRY)
VAULT_UP = Gauge("vault_up", "Whether the last read from Vault worked; absent without Vault", registry=None)

_WITHOUT_TOTAL = frozenset({"api_call", "webhooks", "events"})  # the incumbent's names
_shown: list[Gauge] = []  # gauges that are registered once there is something to say
_LATEST_NOT_SUM = ("_start_time_seconds", "_created")


def report_vault(*, up: bool) -> None:
    """Note how the last read from Vault went; from then on the gauge is shown."""
    if VAULT_UP not in _shown:
        _shown.append(VAULT_UP)
        REGISTRY.register(VAULT_UP)
    VAULT_UP.set(up)


def render_local() -> bytes:
    """All metrics of this process, as Prometheus text."""
    return _render(REGISTRY.collect())


def merge(expositions: Iterable[bytes]) -> bytes:
    """The sum of what several processes rendered; of points in time the latest. What can't be read is left out."""
    merged: dict[str, Metric] = {}
    sums: dict[str, dict[tuple[str, frozenset[tuple[str, str]]], Sample]] = {}
    for exposition in expositions:
        for family in _families(exposition):
            merged.setdefault(family.name, family)
            totals = sums.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                known = totals.get(key)
                totals[key] = sample._replace(value=_combined(known.value, sample)) if known else sample
    for name, totals in sums.items():
        merged[name].samples = list(totals.values())
    return _render(merged.values())


def _families(exposition: bytes) -> Sequence[Metric]:
    try:
        return list(text_string_to_metric_families(exposition[:MAX_EXPOSITION_SIZE].decode("utf-8", "replace")))
    except ValueError:
        return []


def _combined(known: float, sample: Sample) -> float:
    return max(known, sample.value) if sample.name.endswith(_LATEST_NOT_SUM) else known + sample.value


def _render(families: Iterable[Metric]) -> bytes:
    lines: list[str] = []
    for family in families:
        name = family.name if family.type != "counter" or family.name in _WITHOUT_TOTAL else f"{family.name}_total"
        lines += [f"# HELP {name} {_escaped(family.documentation)}", f"# TYPE {name} {family.type}"]
        lines += [_line(sample, family) for sample in family.samples if not sample.name.endswith("_created")]
    return ("\n".join(lines) + "\n").encode()


def _line(sample: Sample, family: Metric) -> str:
    name = family.name if family.name in _WITHOUT_TOTAL else sample.name
    labels = ",".join(f'{label}="{_escaped_value(value)}"' for label, value in sample.labels.items())
    return f"{name}{{{labels}}} {_number(sample.value)}" if labels else f"{name} {_number(sample.value)}"


def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escaped_value(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
