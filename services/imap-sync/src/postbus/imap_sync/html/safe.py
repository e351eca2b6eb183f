"""What HTML of mail may hold. nh3 (ammonia) parses it and writes only what is named here; nothing else gets through."""

from __future__ import annotations

import re
from typing import Final

import nh3

from postbus.imap_sync.html.images import Embedder
from postbus.imap_sync.html.words import words

TAGS: Final = words(
    "a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del"
    " details dfn dir div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hgroup hr i img ins kbd"
    " li main mark menu nav ol p pre q rp rt ruby s samp section small span strike strong sub summary sup table"
    " tbody td tfoot th thead time tr tt u ul var wbr"
)
WITHOUT_CONTENT: Final = words(
    "applet audio canvas datalist embed iframe math noembed noframes object script select style svg template"
    " textarea title video xmp"
)
ATTRIBUTES: Final = {
    "*": {"style", "title", "dir", "lang", "align", "valign", "bgcolor", "width", "height"},
    "a": {"href"},
    "img": {"src", "alt", "border", "hspace", "vspace"},
    "table": {"border", "cellpadding", "cellspacing", "background", "summary", "rules", "frame"},
    "tr": {"background"},
    "td": {"colspan", "rowspan", "nowrap", "background", "abbr", "scope"},
    "th": {"colspan", "rowspan", "nowrap", "background", "abbr", "scope"},
    "col": {"span"},
    "colgroup": {"span"},
    "font": {"color", "face", "size"},
    "hr": {"size", "color", "noshade"},
    "ol": {"start", "type", "reversed"},
    "ul": {"type"},
    "li": {"value", "type"},
    "br": {"clear"},
    "del": {"datetime"},
    "ins": {"datetime"},
    "time": {"datetime"},
}
STYLES: Final = words(  # none that takes an element out of its place: it could cover the page around
    "background background-color border border-bottom border-bottom-color border-bottom-style border-bottom-width"
    " border-collapse border-color border-left border-left-color border-left-style border-left-width border-radius"
    " border-right border-right-color border-right-style border-right-width border-spacing border-style border-top"
    " border-top-color border-top-style border-top-width border-width clear color direction display float font"
    " font-family font-size font-style font-variant font-weight height letter-spacing line-height list-style-type"
    " margin margin-bottom margin-left margin-right margin-top max-height max-width min-height min-width opacity"
    " overflow-wrap padding padding-bottom padding-left padding-right padding-top table-layout text-align"
    " text-decoration text-indent text-transform unicode-bidi vertical-align white-space width word-break"
    " word-spacing word-wrap"
)
LINKS: Final = frozenset({"http", "https", "mailto", "tel", "sms"})

_BLANK: Final = re.compile(r"[\x00-\x20\x7f]+")
_LINK: Final = re.compile(rf"(?:{'|'.join(sorted(LINKS))}):", re.IGNORECASE)
_IMAGE: Final = re.compile(r"https?://|data:image/(?!svg)[a-z0-9.+-]{1,64}[;,]", re.IGNORECASE)
_CID: Final = re.compile(r"cid:(.{1,998})", re.IGNORECASE | re.DOTALL)
_UNWANTED: Final = re.compile(  # CSS that asks others, hides what it says, or moves over the page around
    r"url|image|src\(|expression|element\(|\\|@|/\*|margin[\w-]{0,10}\s{0,10}:[^;]{0,100}-[\d.]", re.IGNORECASE
)
_IMAGE_PLACES: Final = frozenset({"src", "background"})
_LONGEST_START: Final = 128  # characters that decide what a URI is: those of `data:` have megabytes


def clean(html: str, embedder: Embedder) -> str:
    """HTML without anything that runs, asks, covers or escapes; links to images in the message become the images.

    What is named nowhere is dropped: scripts, handlers, forms, frames, style sheets, ids, classes. Links open a new
    window that knows nothing of this one.
    """

    def attribute(_: str, name: str, value: str) -> str | None:
        match name:
            case "href":
                return value if _LINK.match(_BLANK.sub("", value[:_LONGEST_START])) else None
            case "style":
                return safe_style(value)
            case _ if name in _IMAGE_PLACES:
                return _image(value, embedder)
            case _:
                return value

    cleaner = nh3.Cleaner(
        tags=TAGS,
        clean_content_tags=WITHOUT_CONTENT,
        attributes=ATTRIBUTES,
        attribute_filter=attribute,
        url_schemes=LINKS | {"data", "cid"},
        url_relative="deny",
        filter_style_properties=STYLES,
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return cleaner.clean(html)


def safe_style(style: str) -> str | None:
    """The declarations whose values are harmless; what they may set is decided by name, see `STYLES`."""
    if not _UNWANTED.search(style):
        return style
    return ";".join(part for part in style.split(";") if not _UNWANTED.search(part)) or None


def _image(value: str, embedder: Embedder) -> str | None:
    value = value.strip()
    if link := _CID.fullmatch(value):
        return embedder.uri(link[1]) or value
    return value if _IMAGE.match(_BLANK.sub("", value[:_LONGEST_START])) else None
