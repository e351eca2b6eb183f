"""What was written before and stands quoted below an answer is closed, so that a reader sees the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.imap_sync.html.from_text import html_to_text, text_to_html
from postbus.imap_sync.html.quoted import MIN_QUOTED, fold_quoted_html, quoted_from
from postbus.imap_sync.html.rendering import Job, render
from postbus.imap_sync.html.safe import clean
from tests.unit.imap_sync.html.test_html_safety import NO_IMAGES, assert_safe

LONG = "what was said before " * 8
DETAILS = "<details><summary></summary>"


@pytest.mark.parametrize(
    "tail",
    [
        f"<blockquote type=cite>{LONG}</blockquote>",
        f'<br><div class="gmail_quote"><div>On Monday, X wrote:</div><blockquote>{LONG}</blockquote></div>',
        f'<div class="moz-cite-prefix">On Monday, X wrote:</div><blockquote>{LONG}</blockquote>',
        f'<div id="appendonsend"></div><hr><div id="divRplyFwdMsg">From: X</div><div>{LONG}</div>',
        f'<div class="yahoo_quoted">{LONG}</div><p>&nbsp;</p><br>',
        f"<div><div><blockquote>{LONG}</blockquote><br></div>\n</div>",
    ],
)
def test_the_quotes_of_well_known_mailers_are_closed(tail: str) -> None:
    html = f"<html><head><style>p{{}}</style></head><body><p>My answer</p>{tail}</body></html>"
    rendered = render(Job(html, None, [], True, 100_000)).html
    before, _, after = rendered.partition(DETAILS)
    assert "My answer" in before and LONG.strip() in after and "said" not in before
    assert "X wrote" not in before and "From: X" not in before
    assert_safe(rendered)


@pytest.mark.parametrize(
    "html",
    [
        f"<p>answer</p><blockquote>{'short ' * 10}</blockquote>",
        f"<blockquote>{LONG}</blockquote>",
        f"<p>answer</p><blockquote>{LONG}</blockquote><p>and below it</p>",
        f"<p>answer</p><blockquote>{LONG}</blockquote><img src=x>",
        f"<p>answer</p><div>{LONG}</div>",
        f"<p>answer</p><blockquote>{LONG}</blockquote>{'x' * 300_000}",
        "",
        "<blockquote>",
    ],
)
def test_what_is_short_or_alone_or_not_last_stays_open(html: str) -> None:
    assert fold_quoted_html(html) == html


def test_120_characters_are_enough() -> None:
    for size, folds in ((MIN_QUOTED, True), (MIN_QUOTED - 1, False)):
        assert ("<details>" in fold_quoted_html(f"<p>a</p><blockquote>{'x' * size}</blockquote>")) is folds
        assert ("<details>" in text_to_html(f"a\n> {'x' * (size - 2)}")) is folds


def test_the_quoted_tail_of_a_plain_text_is_closed() -> None:
    text = f"My answer <3\n\nOn Monday, X wrote:\n> {LONG}\n>\n\n> and more\n\n"
    html = text_to_html(text)
    assert html.startswith('<div style="white-space:pre-wrap">My answer &lt;3\n\nOn Monday, X wrote:</div>' + DETAILS)
    assert html.count("&gt;") == 3 and html.endswith("</div></details>")
    assert quoted_from(f"> {LONG}") is None
    assert quoted_from(f"a\n> {LONG}\nb") is None


def test_links_in_text_become_links() -> None:
    html = text_to_html('See https://example.test/a?b=1&c="2", (http://x.test/). javascript:alert(1)')
    assert 'href="https://example.test/a?b=1&amp;c="' in html
    assert 'href="http://x.test/"' in html
    assert html.count("<a ") == 2


@given(st.text(max_size=300))
def test_any_text_is_safe_html_that_says_the_same(text: str) -> None:
    html = text_to_html(text)
    assert_safe(html)
    again = html_to_text(clean(html, NO_IMAGES))
    assert "".join(again.split()) == "".join(html_to_text(html).split())


@given(st.lists(st.sampled_from(["> ", "quoted " * 30, "\n", ">", "answer", " "])))
def test_the_quoted_tail_of_any_text_is_a_tail(pieces: list[str]) -> None:
    text = "".join(pieces)
    start = quoted_from(text)
    assert start is None or all(not line.strip() or line.strip().startswith(">") for line in text[start:].split("\n"))


def test_the_text_of_html_is_what_a_reader_sees() -> None:
    html = (
        "<html><head><title>no</title><style>no</style></head><body><!-- no --><h1>Hello</h1>"
        "<p>R&eacute;sum&eacute;&nbsp;&amp; &lt;co&gt;</p><script>no()</script>one<br>two</body>"
    )
    assert html_to_text(html) == "Hello\n\nRésumé & <co>\none\ntwo"
    assert html_to_text("a<script>never ends") == "a"
    assert html_to_text("1 < 2 &#" + "9" * 5000) == "1 < 2 &#" + "9" * 5000
