"""From the text of a message to HTML that can be shown: which of its images to fetch, and what the sanitiser makes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.html.images import Image, linked_ids, normal_id
from postbus.imap_sync.html.rendering import Job
from postbus.imap_sync.protocol.values import BodyPart, Fetched, UidRange
from postbus.imap_sync.sanitiser import Sanitiser
from postbus.imap_sync.structure import Attachment, find_part, read_structure
from postbus.imap_sync.texts import Text

MAX_IMAGES: Final = 100  # of one message
MAX_IMAGES_SIZE: Final = 6 * 1024 * 1024  # bytes as transferred, of one message
MAX_SEARCHED_AT_ONCE: Final = 256 * 1024  # characters of HTML: a millisecond

_SLACK: Final = 1024  # bytes: some servers count other line ends than they send
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
    async for row in connection.fetch((UidRange(uid, uid),), ("UID", *items)):
        if isinstance(row, Fetched) and row.uid == uid:
            sections |= row.sections
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


def _candidates(structure: BodyPart | None) -> list[Attachment]:
    return [
        attachment
        for attachment in read_structure(structure).attachments
        if attachment.content_id
        and not attachment.encoded_in_message
        and (attachment.content_type.startswith("image/") or attachment.content_type == _UNKNOWN)
    ]
