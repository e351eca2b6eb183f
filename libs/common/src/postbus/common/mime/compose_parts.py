"""Bodies for the wire (RFC 2045, 2046): each part with its transfer encoding, multiparts around them."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from postbus.common.mime.charsets import replace_surrogates
from postbus.common.mime.folding import MAX_LINE, WISHED_LINE, fold, parameter_tokens
from postbus.common.mime.outgoing import OutgoingAttachment, Problems
from postbus.common.mime.parameters import parse_content_value

_BASE64_LINE: Final = 76
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_CONTENT_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
_PARAMETER_NAME: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}")
_CONTENT_ID: Final = re.compile(r"[!-;=?-~]{1,900}")
_NOT_SEVEN_BIT: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]")
_EIGHT_BIT: Final = re.compile(rb"[\x80-\xff]")
_ENCODED_BY_QP: Final = bytes(o for o in range(256) if not (0x20 <= o <= 0x7E or o in b"\t\r\n") or o == 0x3D)
_OWN_PARAMETERS: Final = frozenset({"name", "boundary"})


@dataclass(frozen=True, slots=True)
class Part:
    """A body with its Content-* fields; `body` is CRLF-clean, a list so that large content is joined only once."""

    fields: tuple[str, ...]
    body: Sequence[bytes]
    eight_bit: bool = False


def compose_body(
    text: str | None, html: str | None, attachments: Sequence[OutgoingAttachment], problems: Problems
) -> Part:
    """The body of a message: alternatives first, images of the HTML with it, other attachments behind."""
    parts = [_attachment_part(f"attachments.{n}", a, problems) for n, a in enumerate(attachments)]
    embedded = [html is not None and a.disposition == "inline" and bool(a.content_id) for a in attachments]
    if text is None and html is None and not attachments:
        text = ""
    shown = [_text_part("plain", text)] if text is not None else []
    if html is not None:
        images = [part for part, inside in zip(parts, embedded, strict=True) if inside]
        page = _text_part("html", html)
        shown.append(_multipart("related", [page, *images], [("type", "text/html")]) if images else page)
    content = [_multipart("alternative", shown)] if len(shown) > 1 else shown
    content += [part for part, inside in zip(parts, embedded, strict=True) if not inside]
    return content[0] if len(content) == 1 and not attachments else _wrapped(content)


def _wrapped(content: list[Part]) -> Part:
    """Attachments stand in a multipart, also a single one: readers treat a bare one as the text."""
    return content[0] if len(content) == 1 and _is_multipart(content[0]) else _multipart("mixed", content)


def _is_multipart(part: Part) -> bool:
    return part.fields[0].startswith("Content-Type: multipart/")


def _multipart(subtype: str, parts: Sequence[Part], parameters: Sequence[tuple[str, str]] = ()) -> Part:
    boundary = f"=_{secrets.token_hex(16)}"  # can't stand in quoted-printable, base64 or anybody else's content
    eight_bit = any(part.eight_bit for part in parts)
    head = parameter_tokens(f"multipart/{subtype}", [*parameters, ("boundary", boundary)])
    fields = [fold("Content-Type", head)] + ["Content-Transfer-Encoding: 8bit"] * eight_bit
    body: list[bytes] = []
    for part in parts:
        body += [f"--{boundary}\r\n".encode(), *head_and_body(part.fields, part), b"\r\n"]
    return Part(tuple(fields), [*body, f"--{boundary}--\r\n".encode()], eight_bit)


def head_and_body(fields: Sequence[str], part: Part) -> list[bytes]:
    """The fields, an empty line, the body."""
    return ["".join(f"{line}\r\n" for line in fields).encode() + b"\r\n", *part.body]


def _text_part(subtype: str, text: str) -> Part:
    """Text in UTF-8: as it is where that is safe, else in the shorter of quoted-printable and base64."""
    data = _with_crlf(replace_surrogates(text).encode())
    if not _NOT_SEVEN_BIT.search(data) and _longest_line(data) <= WISHED_LINE:
        encoding, body = "7bit", data
    else:
        encoding, body = _shorter(data)
    fields = (f"Content-Type: text/{subtype}; charset=utf-8", f"Content-Transfer-Encoding: {encoding}")
    return Part(fields, [body])


def _shorter(data: bytes) -> tuple[str, bytes]:
    special = len(data) - len(data.translate(None, _ENCODED_BY_QP))
    if special * 6 > len(data):  # each costs two more; base64 adds a third
        return "base64", _base64_lines(data)
    quoted = binascii.b2a_qp(data.replace(b"\r\n", b"\n"), quotetabs=False, istext=True)
    return "quoted-printable", quoted.replace(b"\n", b"\r\n")


def _attachment_part(key: str, attachment: OutgoingAttachment, problems: Problems) -> Part:
    content_type, parameters = _content_type(key, attachment.content_type, problems)
    filename = problems.text(f"{key}.filename", attachment.filename or "")
    encoding, body = _attachment_body(content_type, attachment.content)
    if content_type == "message/rfc822" and encoding == "base64":  # RFC 2046, 5.2.1 forbids it
        content_type = "application/octet-stream"
    named = [("filename", filename)] if filename else []
    fields = [
        fold("Content-Type", parameter_tokens(content_type, parameters)),
        fold("Content-Disposition", parameter_tokens(attachment.disposition, named)),
        f"Content-Transfer-Encoding: {encoding}",
    ]
    if attachment.content_id:
        fields.append(f"Content-ID: {_content_id(key, attachment.content_id, problems)}")
    return Part(tuple(fields), [body], encoding == "8bit")


def _content_type(key: str, value: str, problems: Problems) -> tuple[str, list[tuple[str, str]]]:
    name, parameters = parse_content_value(problems.text(f"{key}.contentType", value) or "application/octet-stream")
    if not _CONTENT_TYPE.fullmatch(name) or name.startswith("multipart/"):
        problems.add(f"{key}.contentType", "must be a media type")
    usable = [
        (name, value)
        for name, value in parameters.items()
        if _PARAMETER_NAME.fullmatch(name) and name not in _OWN_PARAMETERS and value.isprintable()
    ]
    return name, usable


def _attachment_body(content_type: str, content: bytes) -> tuple[str, bytes]:
    if content_type != "message/rfc822":
        return "base64", _base64_lines(content)
    message = _with_crlf(content)
    if b"\0" in message or _longest_line(message) > MAX_LINE:
        return "base64", _base64_lines(content)
    return ("8bit" if _EIGHT_BIT.search(message) else "7bit"), message


def _content_id(key: str, value: str, problems: Problems) -> str:
    bare = value.strip().removeprefix("<").removesuffix(">")
    if not _CONTENT_ID.fullmatch(bare):
        problems.add(f"{key}.cid", "must be printable ASCII without spaces and brackets")
    return f"<{bare}>"


def _base64_lines(data: bytes) -> bytes:
    encoded = base64.b64encode(data)
    return b"\r\n".join([encoded[start : start + _BASE64_LINE] for start in range(0, len(encoded), _BASE64_LINE)])


def _with_crlf(data: bytes) -> bytes:
    return _LINE_END.sub(b"\r\n", data) if b"\r" in data else data.replace(b"\n", b"\r\n")


def _longest_line(data: bytes) -> int:
    """In octets, without line ends; one pass, where a search for long lines would look at each octet many times."""
    return max(map(len, data.split(b"\r\n")))
