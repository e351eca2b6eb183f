"""Which parts of a message are its text and which are attachments (contract, section 7)."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from postbus.imap_sync.protocol.values import BodyPart
from postbus.imap_sync.structure import MAX_TEXT_PARTS, Content, find_part, part_filename, read_structure


def leaf(number: str, content_type: str = "text/plain", **more: Any) -> BodyPart:
    main, _, sub = content_type.partition("/")
    return BodyPart(number, main, sub, **more)


def multipart(subtype: str, *children: BodyPart, number: str = "") -> BodyPart:
    return BodyPart(number, "multipart", subtype, children=children)


def numbers(content: Content) -> tuple[list[str], list[str], list[str]]:
    return (
        [part.number for part in content.plain],
        [part.number for part in content.html],
        [part.number for part in content.attachments],
    )


def test_a_single_part_message_is_part_one() -> None:
    assert numbers(read_structure(leaf("1", size=5))) == (["1"], [], [])
    assert numbers(read_structure(leaf("1", "text/html"))) == ([], ["1"], [])
    assert numbers(read_structure(leaf("1", "application/pdf"))) == ([], [], ["1"])


def test_a_message_without_structure_has_no_content() -> None:
    assert read_structure(None) == Content()


def test_alternatives_and_attachments_are_told_apart() -> None:
    structure = multipart(
        "mixed",
        multipart("alternative", leaf("1.1", size=10), leaf("1.2", "text/html", size=20), number="1"),
        leaf("2", "application/pdf", disposition="attachment", disposition_parameters={"filename": "a.pdf"}, size=99),
    )
    content = read_structure(structure)
    assert numbers(content) == (["1.1"], ["1.2"], ["2"])
    (attachment,) = content.attachments
    assert (attachment.filename, attachment.encoded_size, attachment.content_type) == ("a.pdf", 99, "application/pdf")
    assert not attachment.embedded and not attachment.inline and not attachment.encoded_in_message


def test_text_that_is_marked_as_an_attachment_is_one() -> None:
    structure = multipart("mixed", leaf("1"), leaf("2", disposition="attachment"))
    assert numbers(read_structure(structure)) == (["1"], [], ["2"])
    assert numbers(read_structure(leaf("1", disposition="attachment"))) == ([], [], ["1"])


def test_inline_text_is_text() -> None:
    structure = multipart("mixed", leaf("1", disposition="inline"), leaf("2", disposition="inline"))
    assert numbers(read_structure(structure)) == (["1", "2"], [], [])


def test_text_other_than_plain_and_html_is_an_attachment() -> None:
    """(trap 46)"""
    structure = multipart("mixed", leaf("1"), leaf("2", "text/csv"), leaf("3", "text/SUBTYPE"))
    assert numbers(read_structure(structure)) == (["1"], [], ["2", "3"])


def test_images_of_a_related_body_are_embedded_and_inline_unless_they_say_otherwise() -> None:
    structure = multipart(
        "related",
        leaf("1", "text/html"),
        leaf("2", "image/png", content_id="<one@x>"),
        leaf("3", "image/png", content_id="two@x", disposition="attachment"),
        multipart("mixed", leaf("4.1", "image/gif"), number="4"),
    )
    attachments = read_structure(structure).attachments
    assert [(part.number, part.embedded, part.inline) for part in attachments] == [
        ("2", True, True),
        ("3", True, False),
        ("4.1", True, True),
    ]
    assert [part.content_id for part in attachments] == ["<one@x>", "<two@x>", None]


def test_inline_outside_of_a_related_body_is_inline_but_not_embedded() -> None:
    structure = multipart("mixed", leaf("1"), leaf("2", "image/png", disposition="inline"))
    (attachment,) = read_structure(structure).attachments
    assert attachment.inline and not attachment.embedded


def test_the_text_of_a_message_inside_is_not_ours_and_its_attachments_are_marked() -> None:
    """(trap 44)"""
    inside = multipart("mixed", leaf("2.1"), leaf("2.2", "image/png"), number="2")
    structure = multipart("mixed", leaf("1"), leaf("2", "message/rfc822", children=(inside,), size=1234))
    content = read_structure(structure)
    assert numbers(content) == (["1"], [], ["2", "2.2"])
    assert [part.encoded_in_message for part in content.attachments] == [False, True]


def test_a_calendar_invitation_tells_its_method() -> None:
    structure = multipart("mixed", leaf("1"), leaf("2", "text/calendar", parameters={"method": "request"}))
    (attachment,) = read_structure(structure).attachments
    assert attachment.method == "REQUEST"


def test_file_names_are_decoded_from_the_disposition_first() -> None:
    # RFC 2231, 4: parameter value continuations with a charset
    continued = {"filename*0*": "utf-8''na%C3%AFve%20", "filename*1": "file.txt"}
    assert part_filename(leaf("1", disposition_parameters=continued, parameters={"name": "x"})) == "naïve file.txt"
    assert part_filename(leaf("1", disposition_parameters={"filename": "=?utf-8?q?=C3=A4.txt?="})) == "ä.txt"
    assert part_filename(leaf("1", parameters={"name": "fallback.bin"})) == "fallback.bin"
    assert part_filename(leaf("1", parameters={"name": "raw \udce4.txt"})) not in (None, "")
    assert part_filename(leaf("1")) is None
    assert part_filename(leaf("1", disposition_parameters={"filename": ""})) is None


def test_a_content_type_that_could_break_a_header_is_that_of_unknown_bytes() -> None:
    """(trap 46)"""
    (attachment,) = read_structure(leaf("1", "image/png\r\nx: y")).attachments
    assert attachment.content_type == "application/octet-stream"


def test_flowed_text_is_recognised() -> None:
    (part,) = read_structure(leaf("1", parameters={"format": "Flowed", "delsp": "Yes", "charset": "utf-8"})).plain
    assert (part.flowed, part.delsp, part.charset) == (True, True, "utf-8")
    (part,) = read_structure(leaf("1", "text/html", parameters={"format": "flowed"})).html
    assert not part.flowed


def test_a_thousand_texts_are_no_text_any_more() -> None:
    content = read_structure(multipart("mixed", *(leaf(str(number)) for number in range(1, 1001))))
    assert len(content.plain) == MAX_TEXT_PARTS
    assert len(content.attachments) == 1000 - MAX_TEXT_PARTS


def test_nesting_without_end_ends() -> None:
    """(trap 45)"""
    part = leaf("1.1")
    for _ in range(5000):
        part = multipart("mixed", part)
    assert read_structure(part) == Content()


def test_parts_are_found_by_number_but_containers_are_not() -> None:
    structure = multipart("mixed", multipart("alternative", leaf("1.1"), number="1"), leaf("2", "image/png"))
    assert find_part(structure, "1.1") == leaf("1.1")
    assert find_part(structure, "2") == leaf("2", "image/png")
    assert find_part(structure, "1") is None
    assert find_part(structure, "7") is None
    assert find_part(None, "1") is None


TEXT = st.text(max_size=20)
LEAVES = st.builds(
    BodyPart,
    number=st.sampled_from(["", "1", "1.2", "99999"]),
    type=st.sampled_from(["text", "image", "multipart", "message", ""]) | TEXT,
    subtype=st.sampled_from(["plain", "html", "rfc822", "related", "calendar", ""]) | TEXT,
    parameters=st.dictionaries(st.sampled_from(["charset", "name", "name*0*", "method", "format"]) | TEXT, TEXT),
    content_id=st.none() | TEXT,
    encoding=TEXT,
    disposition=st.none() | st.sampled_from(["inline", "attachment"]) | TEXT,
    disposition_parameters=st.dictionaries(st.sampled_from(["filename", "filename*", "filename*1"]) | TEXT, TEXT),
)
TREES = st.recursive(
    LEAVES,
    lambda children: st.builds(
        BodyPart,
        number=st.sampled_from(["", "1", "2.3"]),
        type=st.sampled_from(["multipart", "message"]),
        subtype=st.sampled_from(["mixed", "related", "rfc822"]),
        children=st.lists(children, max_size=4).map(tuple),
    ),
    max_leaves=12,
)


@given(TREES)
def test_whatever_a_server_says_is_read(structure: BodyPart) -> None:
    content = read_structure(structure)
    for numbered in (part.number for found in (content.plain, content.html, content.attachments) for part in found):
        assert find_part(structure, numbered) is not None
