"""RFC 2392 as mailers write it: links to images of the same message, and the `data:` URIs they become (trap 48)."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.imap_sync.html.images import (
    MAX_LINKS,
    Embedder,
    Image,
    data_uri,
    embed_images,
    linked_ids,
)
from postbus.imap_sync.html.rendering import Job, render
from postbus.imap_sync.protocol.values import BodyPart
from postbus.imap_sync.structure import read_structure
from postbus.imap_sync.web_safe import choose_images

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
ENCODED = base64.b64encode(PNG)
URI = "data:image/png;base64," + ENCODED.decode()


def image(content_id: str = "<a@b>", content_type: str = "image/png", data: bytes = ENCODED) -> Image:
    return Image(content_id, content_type, "base64", data)


def safe(html: str, *images: Image, max_size: int = 100_000) -> str:
    return render(Job(html, None, list(images), True, max_size)).html


@pytest.mark.parametrize("content_id", ["<a b@c>", "a b@c", " <A B@C> "])
@pytest.mark.parametrize("link", ["cid:a b@c", "cid:a%20b@c", "CID:a%20b%40c", "cid:%3Ca%20b@c%3E"])
def test_a_content_id_is_found_with_and_without_brackets_and_percent_encoding(content_id: str, link: str) -> None:
    """(trap 48)"""
    assert safe(f'<img src="{link}">', image(content_id)) == f'<img src="{URI}">'


def test_an_id_with_characters_of_html_is_found() -> None:
    assert safe('<img src="cid:a&amp;b@c">', image("<a&b@c>")) == f'<img src="{URI}">'
    assert list(linked_ids('<img src="cid:a&amp;b@c">')) == ["a&b@c"]
    assert embed_images('<img src="cid:a&amp;b@c">', Embedder([image("<a&b@c>")], 1000)) == f'<img src="{URI}">'


def test_links_are_found_once_and_in_order() -> None:
    html = "<img src='cid:b@x'> <td background=cid:a%40x> <p style='background:url(cid:c@x)'> <img src=\"CID:B@x\">"
    assert list(linked_ids(html)) == ["b@x", "a@x", "c@x"]


def test_links_across_a_slice_are_found_and_their_number_is_limited() -> None:
    html = "x" * (256 * 1024 - 6) + '"cid:across@slice" ' + "".join(f'"cid:{number}@x" ' for number in range(5000))
    found = list(linked_ids(html))
    assert found[0] == "across@slice" and len(found) == MAX_LINKS


def test_images_are_embedded_only_where_images_are_meant() -> None:
    html = safe('<a href="cid:a@b">x</a><td background="cid:a@b"></td><p>cid:a@b</p>', image())
    assert URI not in html and "cid:a@b" in html


def test_what_there_is_no_image_or_no_room_for_keeps_its_link() -> None:
    assert safe('<img src="cid:other@b">', image()) == '<img src="cid:other@b">'
    html = '<img src="cid:a@b">' * 3
    room = len(html) + html.count('"') + 2  # as JSON
    assert safe(html, image(), max_size=room + 3 * len(URI)).count(URI) == 3
    assert safe(html, image(), max_size=room + 3 * len(URI) - 1).count(URI) == 2


def test_only_what_a_browser_shows_as_an_image_becomes_one() -> None:
    assert data_uri(image(content_type="application/octet-stream")) == URI
    assert data_uri(image(content_type="image/svg+xml", data=base64.b64encode(b"<svg onload=x>"))) is None
    assert data_uri(image(content_type="text/html", data=base64.b64encode(b"<script>"))) is None
    assert data_uri(image(content_type='image/x"onerror=', data=base64.b64encode(b"odd"))) is None
    assert data_uri(image(content_type="image/tiff", data=base64.b64encode(b"II*"))) == "data:image/tiff;base64,SUkq"
    assert data_uri(image(data=b"")) is None


def test_without_cleaning_only_links_in_values_change() -> None:
    html = (
        '<!DOCTYPE html><body onload=x>cid:a@b <img SRC="cid:a@b"><p style="background:url(cid:a@b)"><script>1</script>'
    )
    rendered = render(Job(html, None, [image()], False, 100_000)).html
    assert rendered == html.replace('"cid:a@b', '"' + URI).replace("(cid:a@b", "(" + URI)


def test_links_without_end_are_searched_in_linear_time() -> None:
    """(trap 48)"""
    started = time.process_time()
    for piece in ("cid:", '"cid:a', "cid:x@y ", "'cid:%"):
        html = piece * (1_000_000 // len(piece))
        list(linked_ids(html))
        embed_images(html, Embedder([image()], 1000))
    assert time.process_time() - started < 8.0


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_id_and_any_link_are_compared(content_id: str, html: str) -> None:
    list(linked_ids(html))
    embed_images(html, Embedder([image(content_id)], 1000))


def part(number: str, content_id: str | None, *, size: int = 100, subtype: str = "png") -> BodyPart:
    return BodyPart(number=number, type="image", subtype=subtype, encoding="base64", size=size, content_id=content_id)


def test_images_are_chosen_in_the_order_of_their_links_as_long_as_they_fit() -> None:
    parts = (part("2", "<one@x>"), part("3", "<two@x>", size=1_000_000), part("4", "<three@x>"), part("5", None))
    structure = BodyPart(number="", type="multipart", subtype="related", children=parts)
    candidates = read_structure(structure).attachments
    chosen = choose_images(structure, candidates, ["three@x", "two@x", "missing@x", "one@x"], 10_000)
    assert [(chosen_part.number, chosen_part.encoding) for chosen_part in chosen] == [("4", "base64"), ("2", "base64")]
