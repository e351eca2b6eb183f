"""One trace from where something begins (an HTTP call, a push of the mail server) to the webhook that tells of it."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.running import RunningPostbus
from tests.mailserver import MailServer
from tests.servers import WebhookSink
from tests.servers.http_server import RecordingHttpServer

pytestmark = pytest.mark.anyio

PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Span:
    """What a collector is told."""

    trace: str
    service: str
    name: str


class Collector(RecordingHttpServer[Span]):
    """Takes traces as OTLP over HTTP."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Keep the spans of one export."""
        for resource in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            names = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    await self.record(Span(span.trace_id.hex(), names["service.name"], span.name))
        return web.Response(content_type="application/x-protobuf")

    def services_of(self, match: Callable[[Span], bool]) -> list[set[str]]:
        """For each trace with such a span: which services took part."""
        traces = {span.trace for span in self.requests if match(span)}
        return [{span.service for span in self.requests if span.trace == trace} for trace in traces]


async def test_a_submission_and_an_arrival_are_each_one_trace_up_to_the_webhook(mail: MailServer) -> None:
    async with Collector() as collector, WebhookSink() as sink:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.base_url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "EENGINE_SETTINGS": json.dumps({"webhooks": sink.url}),
        }
        with RunningPostbus(env=env) as postbus:
            await asyncio.to_thread(postbus.add_account, "traced", "traced@example.test", mail)
            await asyncio.to_thread(postbus.wait_connected, "traced")
            body = {"to": [{"address": "traced-to@example.test"}], "subject": "traced", "text": "x"}
            assert (await asyncio.to_thread(_submit, postbus, body)) == 200
            await _until(collector, "postbus-api", {"postbus-api", "postbus-sender", "postbus-webhooks"})
            mail.deliver("traced@example.test")
            await _until(collector, "postbus-imap-sync", {"postbus-imap-sync", "postbus-webhooks"})
            assert all("traceparent" in request.headers for request in sink.requests)


def _submit(postbus: RunningPostbus, body: Mapping[str, object]) -> int:
    return postbus.client.post("/v1/account/traced/submit", json=body).status_code


async def _until(collector: Collector, begins_in: str, wanted: set[str]) -> None:
    def complete(_: object) -> bool:
        return any(wanted <= services for services in collector.services_of(lambda span: span.service == begins_in))

    await collector.wait(complete, timeout=PATIENCE_S)
