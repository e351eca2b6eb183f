"""Images that travel with a message: links to them by content id (RFC 2392), and the `data:` URIs they become."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from html import unescape
from typing import Final
from urllib.parse import unquote

import msgspec

from postbus.common.mime.transfer import decode_transfer

MAX_LINKS: Final = 1000  # to images, of one message
MAX_FOUND: Final = 10_000  # with those to the same images
MAX_LINK: Final = 998  # characters: one line, RFC 5322, 2.1.1

_SLICE: Final = 256 * 1024  # characters that are searched at once
_LINK: Final = re.compile(rf"cid:([^\s\"'<>)]{{1,{MAX_LINK}}})", re.IGNORECASE)
_QUOTED_LINK: Final = re.compile(rf"(?<=[\"'=(])\s{{0,8}}cid:([^\s\"'<>)]{{1,{MAX_LINK}}})", re.IGNORECASE)
_IMAGE_TYPE: Final = re.compile(r"image/[a-z0-9.+-]{1,64}")
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)


class Image(msgspec.Struct, frozen=True, array_like=True):
    """An image part as it was fetched: `data` has its transfer encoding."""

    content_id: str
    content_type: str
    encoding: str
    data: bytes


class Embedder:
    """Turns links into `data:` URIs, as long as there is room: `room` counts characters of all URIs together."""

    def __init__(self, images: Iterable[Image], room: int) -> None:
        self._images = {normal_id(image.content_id): image for image in reversed(list(images))}
        self._known: dict[str, str | None] = {}
        self._room = room

    def uri(self, link: str) -> str | None:
        """The URI for what follows `cid:`; None where there is no such image, or no room for it."""
        name = normal_id(link)
        if name not in self._known:
            image = self._images.get(name)
            self._known[name] = data_uri(image) if image else None
        uri = self._known[name]
        if uri is None or len(uri) > self._room:
            return None
        self._room -= len(uri)
        return uri


def normal_id(written: str) -> str:
    """A content id as it is compared: without brackets and percent encoding, and in lower case.

    Mailers write the same id as `<a@b>` in the part and as `cid:A%40b` in the link.
    """
    return unquote(written).strip().strip("<>").lower()


def linked_ids(html: str) -> Iterator[str]:
    """The content ids that HTML links to, in its order, each once. Linear, and free for others between slices."""
    seen: set[str] = set()
    found = 0
    for start in range(0, len(html), _SLICE):
        for match in _LINK.finditer(html, start, start + _SLICE + MAX_LINK):
            found += 1
            if found > MAX_FOUND or len(seen) >= MAX_LINKS:
                return
            name = normal_id(unescape(match[1]) if "&" in match[1] else match[1])
            if name not in seen:
                seen.add(name)
                yield name


def embed_images(html: str, embedder: Embedder) -> str:
    """HTML with its links replaced where they are values, and nothing else changed. It is not made safe."""

    def replaced(match: re.Match[str]) -> str:
        return embedder.uri(unescape(match[1])) or match[0]

    return _QUOTED_LINK.sub(replaced, html)


def data_uri(image: Image) -> str | None:
    """An image as a URI (RFC 2397); None where it is none that a browser shows without running what is in it."""
    data = decode_transfer(image.data, image.encoding)
    content_type = _type_of(data, image.content_type.lower())
    return f"data:{content_type};base64,{binascii.b2a_base64(data, newline=False).decode()}" if content_type else None


def _type_of(data: bytes, declared: str) -> str | None:
    """What its first bytes say; else what its sender says. SVG is left out: it is a document with scripts."""
    for signature, content_type in _SIGNATURES:
        if data.startswith(signature):
            return content_type
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return declared if data and _IMAGE_TYPE.fullmatch(declared) and "svg" not in declared else None
