"""Counters and gauges, as Prometheus reads them (text format 0.0.4), and their sum over many processes.

The first names are the incumbent's, without `_total`, so that its dashboards go on working. Every service renders its
own; the API asks them all and merges the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
VAULT_UP = Gauge("vault_up", "Whether the last read from Vault worked; absent without Vault", registry=None)

_WITHOUT_TOTAL = frozenset({"api_call", "webhooks", "events"})  # the incumbent's names
_LATEST_NOT_SUM = ("_start_time_seconds", "_created")
"""
