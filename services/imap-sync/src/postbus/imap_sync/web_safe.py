"""From the text of a message to HTML that can be shown: which of its images to fetch, and what the sanitiser makes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import structlog

from postbus.common.errors import CommandRefused
from postbus.common.events import MAX_EVENT_BYTES, TextInfo
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.html.images import Image, linked_ids, normal_id
from postbus.imap_sync.html.rendering import Job
from postbus.imap_sync.protocol.values import BodyPart, Fetched, UidRange
from postbus.imap_sync.sanitiser import Sanitiser
from postbus.imap_sync.structure import Attachment, find_part, read_structure
from postbus.imap_sync.texts import Text

log = structlog.get_logger()

MAX_IMAGES: Final = 100  # of one message
MAX_IMAGES_SIZE: Final = 6 * 1024 * 1024  # bytes as transferred, of one message
MAX_SEARCHED_AT_ONCE: Final = 256 * 1024  # characters of HTML: a millisecond
MAX_EVENT_TEXT: Final = MAX_EVENT_BYTES * 3 // 4  # bytes of both types of text in an event
MIN_EVENT_HTML: Final = 16 * 1024  # bytes
EVENTS_AT_ONCE: Final = 8  # of one account
EVENT_S: Final = 20.0  # for the HTML of one event; nobody waits for it

_SLACK: Final = 1024  # bytes: some servers count other line ends than they send
_encode: Final = msgspec.json.encode
_UNKNOWN: Final = "application/octet-stream"  # some mailers name nothing better; the first bytes tell


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of HTML: made safe to show, with the images of the message in it."""

    safe: bool
    embed: bool


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image of a message, and how many bytes of it to fetch."""

    number: str
    content_id: str
    content_type: str
    encoding: str
    max_size: int


async def fetch_images(
    connection: ImapConnection, uid: int, structure: BodyPart | None, html: str | None, max_size: int
) -> list[Image]:
    """The images that HTML links to, at most `max_size` bytes as transferred, in one FETCH; none where none is."""
    if not html or (candidates := _candidates(structure)) == []:
        return []
    if len(html) <= MAX_SEARCHED_AT_ONCE:
        linked = list(linked_ids(html))
    else:
        linked = await asyncio.to_thread(lambda: list(linked_ids(html)))
    parts = choose_images(structure, candidates, linked, min(max_size, MAX_IMAGES_SIZE))
    if not parts:
        return []
    items = tuple(f"BODY.PEEK[{part.number}]<0.{part.max_size}>" for part in parts)
    sections: dict[str, bytes] = {}
    try:
        async for row in connection.fetch((UidRange(uid, uid),), ("UID", *items)):
            if isinstance(row, Fetched) and row.uid == uid:
                sections |= row.sections
    except CommandRefused as error:
        log.info("images refused", uid=uid, reason=error.message)
    return [
        Image(part.content_id, part.content_type, part.encoding, data)
        for part in parts
        if len(data := sections.get(part.number, b"")) <= part.max_size and data
    ]


def choose_images(
    structure: BodyPart | None, candidates: Collection[Attachment], linked: Collection[str], max_size: int
) -> list[ImagePart]:
    """Those that are linked, in the order of the links, as long as they fit together."""
    by_id = {normal_id(image.content_id or ""): image for image in reversed(list(candidates))}
    chosen: list[ImagePart] = []
    for image in [by_id[name] for name in linked if name in by_id][:MAX_IMAGES]:
        part = find_part(structure, image.number)
        size = image.encoded_size + _SLACK
        if part is not None and size <= max_size:
            chosen.append(ImagePart(image.number, image.content_id or "", image.content_type, part.encoding, size))
            max_size -= size
    return chosen


async def render_text(
    text: Text, images: list[Image], wish: Wish, sanitiser: Sanitiser, *, max_size: int, limit_s: float
) -> Text:
    """The text with its HTML as it is wanted, at most `max_size` bytes of JSON; safe HTML also where there was none.

    Never raises for what a stranger wrote, and takes `limit_s` at most.
    """
    if text.html is None and (text.plain is None or not wish.safe):
        return text
    if not wish.safe and not images:
        return text
    job = Job(text.html, text.plain, images, wish.safe, max_size)
    rendered = await sanitiser.render(job, limit_s=limit_s)
    return replace(text, html=rendered.html, has_more=text.has_more or rendered.cut, web_safe=wish.safe)


async def make_events_safe(
    connection: ImapConnection, rows: Sequence[Fetched], texts: Mapping[int, TextInfo], sanitiser: Sanitiser
) -> dict[int, TextInfo]:
    """The texts of messages, by uid, with HTML that is safe to show and as many of its images as an event carries."""
    safe: dict[int, TextInfo] = {}
    told = [(row, row.uid, texts[row.uid]) for row in rows if row.uid is not None and row.uid in texts]
    for start in range(0, len(told), EVENTS_AT_ONCE):
        working: list[Awaitable[TextInfo]] = []
        group = told[start : start + EVENTS_AT_ONCE]
        for row, uid, info in group:
            max_size = max(MAX_EVENT_TEXT - len(_encode(info.plain)), MIN_EVENT_HTML)
            images = await fetch_images(connection, uid, row.structure, info.html, max_size)
            working.append(_safe_info(info, images, sanitiser, max_size))
        done = await asyncio.gather(*working)
        safe |= dict(zip((uid for _, uid, _ in group), done, strict=True))
    return safe


async def _safe_info(info: TextInfo, images: list[Image], sanitiser: Sanitiser, max_size: int) -> TextInfo:
    text = Text(info.plain, info.html, bool(info.has_more))
    wish = Wish(safe=True, embed=True)
    text = await render_text(text, images, wish, sanitiser, max_size=max_size, limit_s=EVENT_S)
    changes = {"html": text.html, "has_more": text.has_more, "web_safe": text.web_safe or None}
    return info.model_copy(update=changes)


def _candidates(structure: BodyPart | None) -> list[Attachment]:
    return [
        attachment
        for attachment in read_structure(structure).attachments
        if attachment.content_id
        and not attachment.encoded_in_message
        and (attachment.content_type.startswith("image/") or attachment.content_type == _UNKNOWN)
    ]
