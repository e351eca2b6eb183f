"""HTML of messages made safe, with images in it, read through a real IMAP server (contract, section 9; trap 48)."""

import asyncio
import base64
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any
from uuid import uuid4

import pytest

from postbus.common.bus.connection import BusAddress, connect_bus
from postbus.common.commands import GetText
from postbus.common.errors import CommandRefused, ConnectionLost, PostbusError
from postbus.imap_sync.sanitiser import Limits, Sanitiser
from tests.integration.imap_sync.reading_session import ReadingSession, open_session
from tests.integration.imap_sync.test_reading_messages import ask, message, user
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
HTML = (
    '<html><head><style>p{}</style></head><body onload="x()"><p>Grüße</p><script>x()</script>'
    '<img src="cid:logo%40mail"><img src="cid:b@mail"><a href="https://example.test/">link</a>'
    f"<blockquote>{'said before ' * 20}</blockquote></body></html>"
)


def newsletter(html: str = HTML, plain: str | None = "Grüße, plain", images: int = 2, size: int = 0) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Logo <logo@example.test>", "a@example.test", "Images"
    mail["Message-ID"] = f"<{uuid4().hex}@example.test>"
    if plain is not None:
        mail.set_content(plain)
        mail.add_alternative(html, subtype="html")
        related = list(mail.iter_parts())[-1]
    else:
        mail.set_content(html, subtype="html")
        related = mail
    for content_id in ("<Logo@mail>", "<b@mail>")[:images]:
        assert isinstance(related, EmailMessage)
        related.add_related(PNG + bytes(size), "image", "png", cid=content_id)
    return mail.as_bytes()


@pytest.fixture
async def session(mail: MailServer, nats_server: NatsServer) -> AsyncIterator[ReadingSession]:
    bus = await connect_bus(BusAddress(nats_server.url), service="imap-sync")
    try:
        async with open_session(mail, f"websafe-{uuid4().hex[:10]}@example.test", bus) as opened:
            yield opened
    finally:
        await bus.close()


async def text_of(session: ReadingSession, uid: int = 1, **more: Any) -> Any:
    return (await message(session, uid, **more))["text"]


async def test_web_safe_html_is_short_for_all_of_it(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), raw=newsletter())
    text = await text_of(session, web_safe_html=True)
    assert (text["webSafe"], text["hasMore"]) == (True, False)
    assert text["plain"].strip() == "Grüße, plain"
    assert text["html"].count(f'<img src="{URI}">') == 2
    assert "<p>Grüße</p>" in text["html"] and "x()" not in text["html"] and "p{}" not in text["html"]
    assert 'rel="noopener noreferrer"' in text["html"]
    assert "<details><summary></summary><blockquote>said before" in text["html"]


async def test_the_same_by_the_id_of_the_text(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), raw=newsletter())
    shown = await message(session, web_safe_html=True)
    text = await ask(session, "text", GetText(account="a", text=shown["text"]["id"], web_safe_html=True))
    sizes = {name: shown["text"].pop(name) for name in ("id", "encodedSize")}
    assert sizes and {**text, "html": len(text["html"])} == {**shown["text"], "html": len(shown["text"]["html"])}
    again = await ask(session, "text", GetText(account="a", text=sizes["id"], text_type="plain", web_safe_html=True))
    assert again["webSafe"] and "plain" in again


async def test_each_option_does_its_part(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), raw=newsletter())
    links = ("cid:logo%40mail", "cid:b@mail")
    safe = await text_of(session, text_type="html", pre_process_html=True)
    assert safe["webSafe"] and all(link in safe["html"] for link in links)
    assert "x()" not in safe["html"] and "plain" not in safe
    embedded = await text_of(session, text_type="html", embed_attached_images=True)
    assert "webSafe" not in embedded and embedded["html"].strip() == HTML.replace(links[0], URI).replace(links[1], URI)
    declined = await text_of(session, web_safe_html=True, embed_attached_images=False)
    assert declined["webSafe"] and all(link in declined["html"] for link in links)
    both = await text_of(session, text_type="html", pre_process_html=True, embed_attached_images=True)
    assert both["webSafe"] and both["html"].count(URI) == 2
    assert "html" not in await text_of(session, pre_process_html=True)
    plain = await text_of(session, text_type="plain", pre_process_html=True)
    assert "webSafe" not in plain or plain["html"].startswith("<div")


async def test_a_message_without_html_has_html_all_the_same(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), n=1)
    text = await text_of(session, web_safe_html=True)
    assert text["webSafe"] and text["html"].startswith('<div style="white-space:pre-wrap">')
    assert session.sanitiser.processes == 0


async def test_a_message_without_text_has_none(session: ReadingSession, mail: MailServer) -> None:
    raw = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-ID: <a@b>\r\n\r\nPNG"
    mail.deliver(user(session), raw=raw)
    text = await text_of(session, web_safe_html=True)
    assert {"plain", "html", "webSafe"} & text.keys() == set()


async def test_images_are_fetched_together_and_only_where_html_links_to_them(
    session: ReadingSession, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.deliver(user(session), raw=newsletter())
    mail.deliver(user(session), raw=newsletter("<p>no images</p>"))
    fetched: list[tuple[str, ...]] = []
    fetch = session.connection.fetch

    def noted(ranges: Any, items: Any, **more: Any) -> Any:
        fetched.append(tuple(items))
        return fetch(ranges, items, **more)

    monkeypatch.setattr(session.connection, "fetch", noted)
    await text_of(session, web_safe_html=True)
    assert len(fetched) == 3  # the message, its text, its images
    fetched.clear()
    await text_of(session, 2, web_safe_html=True)
    assert len(fetched) == 2


async def test_images_beyond_what_an_answer_carries_keep_their_links(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), raw=newsletter(size=3_000_000))
    html = (await text_of(session, web_safe_html=True))["html"]
    assert html.count("data:image/png;base64,") == 1 and html.count('<img src="cid:b@mail">') == 1


async def test_max_bytes_cuts_before_the_html_is_made_safe(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), raw=newsletter(f"<p>{'x' * 100}</p><p>never seen</p>"))
    text = await text_of(session, web_safe_html=True, max_bytes=50)
    assert text["hasMore"] and text["html"] == f"<p>{'x' * 47}</p>"


@pytest.mark.parametrize("html", ["<div>" * 30_000 + "deep", "<p>" * 200_000 + "deep"])
async def test_html_that_no_parser_may_see_is_told_as_text(
    session: ReadingSession, mail: MailServer, html: str
) -> None:
    mail.deliver(user(session), raw=newsletter(html, plain=None, images=0))
    text = await text_of(session, web_safe_html=True)
    assert text["html"] == '<div style="white-space:pre-wrap">deep</div>'
    assert text["webSafe"]


async def test_html_of_a_megabyte_fits_into_an_answer(session: ReadingSession, mail: MailServer) -> None:
    row = '<tr class="row"><td title="a &quot;quoted&quot; title" class="cell">"cell"</td></tr>\n'
    html = f"<table>{row * 10_000}</table>"
    mail.deliver(user(session), raw=newsletter(html, plain=html, images=0))
    text = await text_of(session, web_safe_html=True)
    assert text["html"].strip().endswith("</tbody></table>") and len(text["html"]) > 500_000


async def test_a_sanitiser_that_hangs_is_answered_with_text_in_time(session: ReadingSession, mail: MailServer) -> None:
    await session.html.close()
    session.html = Sanitiser(Limits(job_s=0.3), argv=("sleep", "60"))
    mail.deliver(user(session), raw=newsletter())
    async with asyncio.timeout(8):
        text = await text_of(session, web_safe_html=True)
    assert text["html"] == '<div style="white-space:pre-wrap">Grüße, plain\n</div>' and text["webSafe"]


async def test_a_message_is_marked_as_seen_with_any_option(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), raw=newsletter())
    shown = await message(session, web_safe_html=True, mark_as_seen=True)
    assert "unseen" not in shown and shown["flags"] == ["\\Seen"] and shown["text"]["webSafe"]


@pytest.mark.parametrize("error", [CommandRefused("read-only"), ConnectionLost("gone")])
async def test_a_message_that_can_not_be_marked_is_read_all_the_same(
    session: ReadingSession, mail: MailServer, monkeypatch: pytest.MonkeyPatch, error: PostbusError
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise error

    mail.deliver(user(session), raw=newsletter())
    monkeypatch.setattr(session.connection, "store_flags", refuse)
    shown = await message(session, text_type="plain", mark_as_seen=True)
    assert shown["unseen"] and shown["flags"] == [] and shown["text"]["plain"]
