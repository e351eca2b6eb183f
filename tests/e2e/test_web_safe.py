"""HTML that is safe to show, end to end: over the API, and in webhooks where that is set."""

import asyncio

import pytest

from tests.contract import assert_deliveries_fit
from tests.e2e.running import RunningPostbus
from tests.e2e.test_main_job import _new_message
from tests.integration.imap_sync.test_reading_web_safe import URI, newsletter
from tests.mailserver import MailServer
from tests.servers import WebhookSink

pytestmark = pytest.mark.anyio


async def test_html_is_safe_to_show_in_answers_and_webhooks(
    postbus: RunningPostbus, mail: MailServer, hooks: WebhookSink
) -> None:
    api = postbus.client
    assert api.post("/v1/settings", json={"notifyWebSafeHtml": True}).status_code == 200
    try:
        await asyncio.to_thread(postbus.add_account, "e2e-safe", "e2e-safe@example.test", mail)
        await asyncio.to_thread(postbus.wait_connected, "e2e-safe")
        await asyncio.to_thread(mail.deliver, "e2e-safe@example.test", newsletter())
        told = await _new_message(hooks, "e2e-safe")
    finally:
        api.post("/v1/settings", json={"notifyWebSafeHtml": None})
    text = told["data"]["text"]
    assert text["webSafe"] and text["html"].count(URI) == 2 and "x()" not in text["html"]
    assert_deliveries_fit([request.delivery for request in hooks.requests if request.json["account"] == "e2e-safe"])

    message = f"/v1/account/e2e-safe/message/{told['data']['id']}"
    shown = api.get(message, params={"webSafeHtml": "true", "markAsSeen": "true"})
    assert shown.status_code == 200
    assert shown.json()["text"]["html"].count(URI) == 2 and "\\Seen" in shown.json()["flags"]
    again = api.get(f"/v1/account/e2e-safe/text/{text['id']}", params={"webSafeHtml": "true"}).json()
    assert again["webSafe"] and again["hasMore"] is False
    assert 'rendered_html_total{outcome="rendered"}' in api.get("/metrics").text
