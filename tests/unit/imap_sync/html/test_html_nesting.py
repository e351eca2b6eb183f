"""Deep nesting costs parsers quadratic time: it is counted before any of them sees it, and told as text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.imap_sync.html.nesting import MAX_DEPTH, MAX_TAGS, is_tame
from postbus.imap_sync.html.rendering import Job, render


def nested(tag: str, depth: int) -> str:
    return f"<{tag}>" * depth + "deep" + f"</{tag}>" * depth


@pytest.mark.parametrize("tag", ["div", "b", "table", "span", "blockquote", "x-unknown"])
def test_512_levels_are_parsed_and_one_more_is_not(tag: str) -> None:
    assert is_tame(nested(tag, MAX_DEPTH))
    assert not is_tame(nested(tag, MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "html",
    [
        "<p>paragraph" * 5000,
        "<ul>" + "<li><p>item" * 5000 + "</ul>",
        "<table>" + "<tr><td>cell<td>cell" * 5000 + "</table>",
        "<dl>" + "<dt>term<dd>what it is" * 5000 + "</dl>",
        "<br><img src=x><hr>" * 5000,
        '<a name="x">anchor' * 5000,
        "<div><span>closed</span></div>" * 5000,
        "<!--" + "<div>" * 5000 + "-->",
        "<style>" + "<div>" * 5000 + "</style>",
        "<!--><p>x" * 3000,
        "<p>&#1055;&#1088;&#1080;&#1074;&#1077;&#1090;&nbsp;</p>" * 20_000,
        "&#1055;" * 20_000,
        ("\xa0" * 100 + "<br>") * 5000,
        f'<p title="{"words " * 5000}">' + "words " * 50_000,
    ],
)
def test_what_ends_by_itself_is_not_nested(html: str) -> None:
    assert is_tame(html)


@pytest.mark.parametrize(
    "html",
    [
        "<div></b>" * 1000,
        "<div></p></x>" * 1000,
        "<div><style></div></style>" * 1000,
        "<div><!--</div>-->" * 1000,
        "<svg>" + "<td>" * 1000,
        "<b>" * 600 + "<p>" * 10,
        "<p>" + "".join(f'<font size="{size}">' for size in range(600)),
        "".join(f'<font size="{size}">' for size in range(500)) + "<p>x</p>" * 10_000,
        "<br>" * (MAX_TAGS + 1),
        "&amp;" * 400_000,
        "<b>x</b>" + "&a " * 400_000,
        "<b>x</b>" + "\xa0" * 400_000,
        "<p " + " ".join(f"a{number}" for number in range(20_000)) + ">",
        "<p " + "\n".join(f'a{number}=""' for number in range(20_000)),
    ],
)
def test_what_only_seems_to_end_is_counted(html: str) -> None:
    assert not is_tame(html)


def test_what_is_too_deep_is_told_as_text() -> None:
    html = nested("div", 60_000)
    started = time.process_time()
    assert render(Job(html, None, [], True, 100_000)).html == '<div style="white-space:pre-wrap">deep</div>'
    assert render(Job(html, "the <text>", [], True, 100_000)).html == (
        '<div style="white-space:pre-wrap">the &lt;text&gt;</div>'
    )
    assert time.process_time() - started < 2.0


@given(st.lists(st.sampled_from(["<", "</", "div", "p", "b", ">", "<!--", "-->", "<svg>", "<style>", "</style", " "])))
def test_whatever_is_written_is_judged(pieces: list[str]) -> None:
    assert is_tame("".join(pieces))


@pytest.mark.parametrize("piece", ["<", "</", "<a ", "<!--", "<style>", "</style", "<p", "x"])
def test_hostile_repeats_are_judged_in_linear_time(piece: str) -> None:
    started = time.process_time()
    is_tame(piece * (2_000_000 // len(piece)))
    assert time.process_time() - started < 2.0
