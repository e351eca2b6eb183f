"""HTML of one message as clients get it: safe to show, or as it came with its images in it."""

from __future__ import annotations

from typing import Final

import msgspec

from postbus.imap_sync.html.from_text import html_to_text, text_to_html
from postbus.imap_sync.html.images import Embedder, Image, embed_images
from postbus.imap_sync.html.nesting import is_tame
from postbus.imap_sync.html.quoted import fold_quoted_html
from postbus.imap_sync.html.safe import clean

_SHORTER: Final = 0.9  # of what should fit, so that one cut most often suffices

_json: Final = msgspec.json.Encoder()


class Job(msgspec.Struct, frozen=True, array_like=True):
    """What is to be rendered, and how many bytes it may have as JSON. Without `safe` images are put in, no more."""

    html: str | None
    plain: str | None
    images: list[Image]
    safe: bool
    max_size: int


class Rendered(msgspec.Struct, frozen=True, array_like=True):
    """The HTML; `cut` where not all of it fitted, `worn` where the process that made it has used enough memory."""

    html: str
    cut: bool = False
    worn: bool = False


def render(job: Job) -> Rendered:
    """Do it. What no parser may see, and a message without HTML, is rendered as text."""
    html = job.html or ""
    if not job.safe:
        return Rendered(_with_images(html, job))
    if not html.strip() or not is_tame(html):
        return render_text(job)
    return _fitting(html, job)


def render_text(job: Job) -> Rendered:
    """What it says as text, in HTML: needs no parser, and never fails."""
    text = job.plain if job.plain is not None and job.plain.strip() else html_to_text(job.html or "")
    html = text_to_html(text)
    cut = False
    while (size := _size(html)) > job.max_size:
        text, cut = _shorter(text, size, job.max_size), True
        html = text_to_html(text)
    return Rendered(html, cut)


def _fitting(html: str, job: Job) -> Rendered:
    room = max(job.max_size - _size(html), 0)
    folded = fold_quoted_html(html)
    rendered = clean(folded, Embedder(job.images, room))
    cut = False
    while (size := _size(rendered)) > job.max_size:
        html, cut = _shorter(html, size, job.max_size), True
        rendered = clean(html, Embedder((), 0))
    return Rendered(rendered, cut)


def _with_images(html: str, job: Job) -> str:
    return embed_images(html, Embedder(job.images, max(job.max_size - _size(html), 0)))


def _shorter(text: str, size: int, max_size: int) -> str:
    """As much of it as should fit; always less than before."""
    return text[: int(len(text) * min(max_size / size, 1.0) * _SHORTER)]


def _size(text: str) -> int:
    return len(_json.encode(text))
