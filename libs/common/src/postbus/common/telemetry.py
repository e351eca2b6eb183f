"""Traces (OpenTelemetry): from the HTTP call or the IMAP push through NATS to the webhook, one trace.

Off, and free of cost, unless an OTLP endpoint is configured: then the SDK is not even imported. Trace context travels
in message headers as W3C `traceparent` (https://www.w3.org/TR/trace-context/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from postbus.common.version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_TRACES_PATH = "/v1/traces"
_OFF: AbstractContextManager[None] = nullcontext()

_tracer: Tracer | None = None
_provider: Any = None


def configure_telemetry(service: str, endpoint: str | None) -> None:
    """Send the traces of this process to an OTLP/HTTP collector; without an endpoint, make none."""
    global _tracer, _provider
    if endpoint is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": f"postbus-{service}", "service.version": __version__})
    _provider = TracerProvider(resource=resource)
    url = endpoint if endpoint.rstrip("/").endswith(_TRACES_PATH) else endpoint.rstrip("/") + _TRACES_PATH
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    _tracer = _provider.get_tracer("postbus", __version__)


def close_telemetry() -> None:
    """Send what is left, within the exporter's own limit of seconds. Blocks: call it after the event loop."""
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


def inject() -> dict[str, str]:
    """Headers that carry the current trace on; empty when there is none."""
    headers: dict[str, str] = {}
    if _tracer is not None:
        from opentelemetry import propagate

        propagate.inject(headers)
    return headers


def span(
    name: str, *, parent: Mapping[str, str] | None = None, **attributes: str | int
) -> AbstractContextManager[None]:
    """A span around a block. `parent`: headers that somebody else's `inject` filled; else the current span, if any."""
    return _OFF if _tracer is None else _span(_tracer, name, parent, attributes)


@contextmanager
def _span(
    tracer: Tracer, name: str, parent: Mapping[str, str] | None, attributes: Mapping[str, str | int]
) -> Iterator[None]:
    from opentelemetry import propagate

    context = propagate.extract(parent) if parent else None
    with tracer.start_as_current_span(name, context=context, attributes=attributes):
        yield
