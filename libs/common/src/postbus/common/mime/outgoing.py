"""A message to be sent, as values, and what of it can't be put on the wire."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

import idna

from postbus.common.errors import BadInput
from postbus.common.mime.charsets import decode_text, replace_surrogates
from postbus.common.mime.folding import MAX_VALUE
from postbus.common.mime.transfer import decode_transfer

MAX_ADDRESS: Final = 900  # octets: it has to fit on a line, and into a command
MAX_DOMAIN: Final = 255

_LINE_ENDS: Final = re.compile(r"[\r\n\0]")
_ENCODED: Final = re.compile(r"=\?([^?\s=]{1,80})\?([bBqQ])\?((?:(?!\?=)(?!=\?[^=]).)*+)\?=", re.DOTALL)
_LOCAL_PART: Final = re.compile(r"[^\x00-\x20\x7f\"(),:;<>@\[\]\\]+|\"(?:[^\x00-\x1f\x7f\"\\]|\\[ -~])*\"")
_DOMAIN: Final = re.compile(r"[^\x00-\x20\x7f\"(),:;<>@\[\]\\]+|\[[!-Z^-~]{1,253}\]")


@dataclass(frozen=True, slots=True)
class OutgoingAddress:
    """One mailbox: display name (may be empty) and address, both as people write them (Unicode domains)."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class OutgoingAttachment:
    """One attachment. `content_id` (brackets or not) makes an inline one reachable from the HTML by `cid:`."""

    filename: str | None
    content: bytes
    content_type: str
    disposition: Literal["attachment", "inline"] = "attachment"
    content_id: str | None = None


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """All that is composed. `message_id`, `in_reply_to` and `references` stand in angle brackets.

    `headers` are further fields, in order. There is no Bcc: those recipients are in the SMTP envelope only.
    """

    sender: OutgoingAddress
    to: tuple[OutgoingAddress, ...]
    cc: tuple[OutgoingAddress, ...]
    reply_to: tuple[OutgoingAddress, ...]
    subject: str
    text: str | None
    html: str | None
    attachments: tuple[OutgoingAttachment, ...]
    headers: tuple[tuple[str, str], ...]
    message_id: str
    date: datetime
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()


@dataclass(slots=True)
class Problems:
    """What is wrong with a message, field by field, by the names the API gives them."""

    fields: list[dict[str, str]] = field(default_factory=list)

    def add(self, key: str, message: str) -> None:
        """Note one failure."""
        self.fields.append({"key": key, "message": message})

    def raise_any(self) -> None:
        """BadInput with all failures, if there is one."""
        if self.fields:
            raise BadInput(fields=self.fields)

    def text(self, key: str, value: str) -> str:
        """The text without lone surrogates; a line end or NUL in it, plain or in an encoded word, is a failure."""
        value = replace_surrogates(value)
        if _LINE_ENDS.search(value) or any(map(_hides_line_end, _ENCODED.finditer(value))):
            self.add(key, "must not contain line breaks or NUL")
            return ""
        if len(value) > MAX_VALUE:
            self.add(key, f"must not be longer than {MAX_VALUE} characters")
            return ""
        return value

    def address(self, key: str, value: str) -> str:
        """The address for the wire, see `wire_address`; a failure when it is none."""
        try:
            return wire_address(value)
        except ValueError as error:
            self.add(key, str(error))
            return ""


def wire_address(address: str) -> str:
    """The address with its domain in ASCII (IDNA 2008, UTS 46); a local part beyond ASCII stays and needs SMTPUTF8.

    ValueError for what is no address: nothing that could end the address or the line it stands on gets through.
    """
    local, _, domain = replace_surrogates(address).rpartition("@")
    if not _LOCAL_PART.fullmatch(local) or not _DOMAIN.fullmatch(domain) or len(address.encode()) > MAX_ADDRESS:
        raise ValueError("must be a valid e-mail address")
    return f"{local}@{ascii_domain(domain)}"


def ascii_domain(domain: str) -> str:
    """A domain in ASCII; ValueError when it has no such form. ASCII stays as it is: strangers' names are odd."""
    if domain.isascii():
        if len(domain) > MAX_DOMAIN:
            raise ValueError("must be a valid e-mail address")
        return domain
    try:
        return idna.encode(domain, uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError("must have a valid domain name") from error


def _hides_line_end(word: re.Match[str]) -> bool:
    """Whether a tolerant reader finds a line end in this encoded word; RFC 2047, 2."""
    text = word[3].encode("utf-8", "replace")
    data = decode_transfer(text, "base64") if word[2] in "bB" else binascii.a2b_qp(text, header=True)
    return bool(_LINE_ENDS.search(data.decode("latin-1")) or _LINE_ENDS.search(decode_text(data, word[1])))
