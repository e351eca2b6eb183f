"""`notifyWebSafeHtml`: the HTML in `messageNew` is safe to show, with its images, as far as an event carries them."""

from collections.abc import AsyncIterator

import pytest

from postbus.common.events import MAX_EVENT_BYTES
from tests.integration.imap_sync.syncing import System
from tests.integration.imap_sync.test_reading_web_safe import URI, newsletter

pytestmark = pytest.mark.anyio


@pytest.fixture
async def safe_system(system: System) -> AsyncIterator[System]:
    await system.parts.settings_store.write({"notifyWebSafeHtml": True})
    await system.parts.settings.load()
    yield system


async def test_html_is_told_safe_with_its_images(safe_system: System) -> None:
    system = safe_system
    await system.start()
    account = await system.connected()
    await system.deliver(account, raw=newsletter())
    await system.deliver(account, n=1)
    text = (await system.event(account, "messageNew")).data.text
    assert text.web_safe and text.plain.strip() == "Grüße, plain"
    assert text.html.count(URI) == 2 and "x()" not in text.html
    plain = (await system.event(account, "messageNew", 2)).data.text
    assert plain.web_safe and plain.html.startswith('<div style="white-space:pre-wrap">')
    assert not system.repeated()


async def test_an_event_stays_small_whatever_its_html_holds(safe_system: System) -> None:
    system = safe_system
    await system.start()
    account = await system.connected()
    await system.deliver(account, raw=newsletter(size=100_000))
    await system.deliver(account, raw=newsletter("<p>&amp;</p>" * 20_000, images=0))
    await system.deliver(account, raw=newsletter("<div>" * 20_000 + "deep", images=0))
    one_image = (await system.event(account, "messageNew", 1)).data.text
    assert one_image.html.count("data:image/png") == 1 and "cid:b@mail" in one_image.html
    long = (await system.event(account, "messageNew", 2)).data.text
    assert long.has_more and long.html.endswith("<p>&amp;</p>")
    assert MAX_EVENT_BYTES // 2 < len(long.html) < MAX_EVENT_BYTES
    deep = (await system.event(account, "messageNew", 3)).data.text
    assert deep.html == '<div style="white-space:pre-wrap">Grüße, plain\n</div>'


async def test_without_text_there_is_none_to_make_safe(safe_system: System) -> None:
    """(trap 84)"""
    system = safe_system
    await system.parts.settings_store.write({"notifyText": False})
    await system.parts.settings.load()
    await system.start()
    account = await system.connected()
    await system.deliver(account, raw=newsletter())
    text = (await system.event(account, "messageNew")).data.text
    assert (text.plain, text.html, text.web_safe) == (None, None, None)
