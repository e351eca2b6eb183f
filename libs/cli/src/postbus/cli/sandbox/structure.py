"""ENVELOPE and BODYSTRUCTURE of the sandbox (RFC 9051, 7.5.2), composed from the header as it is written.

pymap's own (0.37) decode the subject, write the date in another form, count the header of a part into its size and
leave Content-Disposition in one string.
"""

from __future__ import annotations

from collections.abc import Callable
from email.message import Message as Header
from email.parser import BytesHeaderParser
from email.utils import getaddresses
from typing import Any

from pymap.backend.dict import mailbox
from pymap.bytes import Writeable, WriteStream
from pymap.mime import MessageContent

_TEXT = frozenset(range(0x20, 0x7F))


class Composed(Writeable):
    """A value that is written as it is; `extended` is what BODYSTRUCTURE wants beyond BODY."""

    def __init__(self, basic: bytes, extended: bytes | None = None) -> None:
        super().__init__()
        self._basic = basic
        self._extended = basic if extended is None else extended

    @property
    def extended(self) -> Composed:
        """The long form."""
        return Composed(self._extended)

    def write(self, writer: WriteStream) -> None:
        """Write it."""
        writer.write(self._basic)

    def __bytes__(self) -> bytes:
        return self._basic


class ComposedEnvelope(Composed):
    """ENVELOPE is written as ours; SEARCH looks at what pymap made of the header (`subject`, `from_`, `date` ...)."""

    def __init__(self, basic: bytes, own: Callable[[], object]) -> None:
        super().__init__(basic)
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own(), name)


class SandboxLoadedMessage(mailbox.LoadedMessage):
    """A message whose ENVELOPE and BODYSTRUCTURE are ours."""

    def get_envelope_structure(self) -> Composed:  # type: ignore[override] # pymap only writes it
        """ENVELOPE."""
        return ComposedEnvelope(compose_envelope(self.content), super().get_envelope_structure)

    def get_body_structure(self) -> Composed:  # type: ignore[override]
        """BODY and BODYSTRUCTURE."""
        return Composed(compose_structure(self.content, False), compose_structure(self.content, True))


def use_in_pymap() -> None:
    """Have pymap's in-memory backend load messages as ours, in this process. It names the class, and takes no other."""
    mailbox.LoadedMessage = SandboxLoadedMessage  # type: ignore[misc]


def compose_envelope(content: MessageContent) -> bytes:
    """`(date subject from sender reply-to to cc bcc in-reply-to message-id)`."""
    header = _header(content)
    from_ = _addresses(header, "From")
    sender = _addresses(header, "Sender")
    reply_to = _addresses(header, "Reply-To")
    return _list(
        _string(header["Date"]),
        _string(header["Subject"]),
        from_,
        from_ if sender == b"NIL" else sender,
        from_ if reply_to == b"NIL" else reply_to,
        *(_addresses(header, name) for name in ("To", "Cc", "Bcc")),
        _string(header["In-Reply-To"]),
        _string(header["Message-ID"]),
    )


def compose_structure(content: MessageContent, extended: bool) -> bytes:
    """The structure of a message or part; `extended` as in BODYSTRUCTURE."""
    header = _header(content)
    kind = content.body.content_type
    maintype, subtype = str(kind.maintype), str(kind.subtype)
    more = [_disposition(header), _string(header["Content-Language"]), _string(header["Content-Location"])]
    if maintype == "multipart" and content.body.nested:
        parts = b"".join(compose_structure(part, extended) for part in content.body.nested)
        long = [_parameters(header, "Content-Type"), *more] if extended else []
        return _list(parts, _string(subtype), *long)
    body = bytes(content.body)
    fields = [
        _string(maintype),
        _string(subtype),
        _parameters(header, "Content-Type"),
        _string(header["Content-ID"]),
        _string(header["Content-Description"]),
        _string(header["Content-Transfer-Encoding"] or "7BIT"),
        b"%d" % len(body),
    ]
    if maintype == "message" and content.body.nested:
        inner = content.body.nested[0]
        fields += [compose_envelope(inner), compose_structure(inner, extended)]
    if maintype in ("text", "message"):
        fields.append(b"%d" % body.count(b"\n"))
    return _list(*fields, *([b"NIL", *more] if extended else []))


def _header(content: MessageContent) -> Header:
    return BytesHeaderParser().parsebytes(bytes(content.header))


def _addresses(header: Header, name: str) -> bytes:
    found = getaddresses([str(value) for value in header.get_all(name, [])])
    rows = [
        _list(_string(person or None), b"NIL", _string(local), _string(domain))
        for person, address in found
        for local, _, domain in [address.rpartition("@")]
        if local
    ]
    return _list(b"".join(rows)) if rows else b"NIL"


def _disposition(header: Header) -> bytes:
    value = header.get_content_disposition()
    return _list(_string(value), _parameters(header, "Content-Disposition")) if value else b"NIL"


def _parameters(header: Header, name: str) -> bytes:
    words = []
    for key, value in (header.get_params(header=name) or [])[1:]:
        words += [_string(key), _string(_collapsed(value))]
    return _list(*words) if words else b"NIL"


def _collapsed(value: str | tuple[str | None, str | None, str]) -> str:
    """A parameter as text; one in RFC 2231 form comes as charset, language and percent-decoded text."""
    if isinstance(value, str):
        return value
    charset, _, text = value
    return text.encode("latin-1", "replace").decode(charset or "us-ascii", "replace")


def _list(*words: bytes) -> bytes:
    return b"(" + b" ".join(words) + b")"


def _string(value: object) -> bytes:
    """`nstring`: NIL, quoted, or a literal where there is more than printable ASCII; folding is undone."""
    if value is None:
        return b"NIL"
    raw = str(value).replace("\r", "").replace("\n", "").encode("utf-8", "surrogateescape")
    if _TEXT.issuperset(raw):
        return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return b"{%d}\r\n" % len(raw) + raw
