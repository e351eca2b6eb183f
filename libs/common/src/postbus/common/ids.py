"""Identifiers: those the API shows (contract, section 7) and those that name things on the bus and in the store.

Message, text and attachment ids are positions, not lookups: `mailbox number | uid`, both uint32 big endian, then for a
text the part numbers as MessagePack, for an attachment its part number in ASCII. All base64url without padding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import struct
import time
from dataclasses import dataclass
from uuid import UUID, uuid5

import msgspec

from postbus.common.errors import NotFound

PARTITIONS = 256  # of accounts over imap-sync workers; fixed for ever, it is part of the stored layout
SHARDS = 32  # of the event log over webhooks workers; fixed for ever, it is part of the subject
MAX_MESSAGE_ID_CHARS = 256  # contract, section 7

_SAFE_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESERVED_PREFIXES = ("x_", "xh_")
_MAX_TOKEN_CHARS = 128
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_PART_NUMBER = re.compile(r"[1-9][0-9]{0,3}(?:\.[1-9][0-9]{0,3}){0,63}")
_POSITION = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class MessageId:
    """Where a message is: the number of its mailbox in its account, and its uid."""

    mailbox: int
    uid: int

    def __str__(self) -> str:
        return _encode(_POSITION.pack(self.mailbox, self.uid))


@dataclass(frozen=True, slots=True)
class TextId:
    """Where the text of a message is: part numbers of its plain, HTML and other text."""

    message: MessageId
    plain: tuple[str, ...]
    html: tuple[str, ...]
    other: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = msgspec.msgpack.encode([self.plain, self.html, self.other])
        return _encode(_POSITION.pack(self.message.mailbox, self.message.uid) + parts)


@dataclass(frozen=True, slots=True)
class AttachmentId:
    """Where an attachment is: its part number in a message (RFC 9051, 6.4.5.1), such as `2.1`."""

    message: MessageId
    part: str

    def __str__(self) -> str:
        return _encode(_POSITION.pack(self.message.mailbox, self.message.uid) + self.part.encode("ascii"))


def parse_message_id(text: str) -> MessageId:
    """Read a message id; NotFound for anything that can't be one, as the API answers 404 to wrong ids."""
    raw = _decode(text, "MessageNotFound")
    if len(raw) != _POSITION.size:
        raise NotFound("Message not found", code="MessageNotFound")
    return _position(raw, "MessageNotFound")


def parse_text_id(text: str) -> TextId:
    """Read a text id; NotFound for anything that can't be one."""
    raw = _decode(text, "TextNotFound", limit=10_240)
    message = _position(raw, "TextNotFound")
    try:
        plain, html, other = msgspec.msgpack.decode(raw[_POSITION.size :], type=tuple[list[str], list[str], list[str]])
    except msgspec.DecodeError as error:
        raise NotFound("Text not found", code="TextNotFound") from error
    if not all(_PART_NUMBER.fullmatch(part) for part in (*plain, *html, *other)):
        raise NotFound("Text not found", code="TextNotFound")
    return TextId(message, tuple(plain), tuple(html), tuple(other))


def parse_attachment_id(text: str) -> AttachmentId:
    """Read an attachment id; NotFound for anything that can't be one."""
    raw = _decode(text, "AttachmentNotFound", limit=2048)
    message = _position(raw, "AttachmentNotFound")
    part = raw[_POSITION.size :].decode("ascii", "replace")
    if not _PART_NUMBER.fullmatch(part):
        raise NotFound("Attachment not found", code="AttachmentNotFound")
    return AttachmentId(message, part)


def account_token(account: str) -> str:
    """The account id as one token for subjects, keys and headers: the only way strangers' text gets there.

    Safe ids stay as they are; others become `x_` and lower-case base32 of their UTF-8 bytes, or, where that is over
    128 characters, `xh_` and the SHA-256 in hex.
    """
    if _SAFE_ACCOUNT.fullmatch(account) and not account.startswith(_RESERVED_PREFIXES):
        return account
    raw = account.encode("utf-8", "surrogatepass")
    token = "x_" + base64.b32encode(raw).decode("ascii").rstrip("=").lower()
    return token if len(token) <= _MAX_TOKEN_CHARS else "xh_" + hashlib.sha256(raw).hexdigest()


def shown_account(token: str) -> str:
    """The account id of a token, for people; a token that can't be turned back stays as it is."""
    encoded = token.removeprefix("x_")
    if encoded == token:
        return token
    try:
        return base64.b32decode(encoded.upper() + "=" * (-len(encoded) % 8)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return token


def fnv1a32(text: str) -> int:
    """FNV-1a, 32 bits, over the UTF-8 bytes: the hash of the server's own `partition()` subject transform."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def partition_of(token: str) -> int:
    """The partition, 0..255, whose owner runs the account."""
    return fnv1a32(token) % PARTITIONS


def shard_of(token: str) -> int:
    """The shard of the event log, 0..31, the account's events go to."""
    return fnv1a32(token) % SHARDS


def event_id(generation: UUID, event: str, *what: object) -> UUID:
    """The id of an event: the same happening in the same life of the account always gives the same one."""
    return uuid5(generation, "\x1f".join((event, *(str(part) for part in what))))


def new_queue_id(at_ms: int | None = None) -> str:
    """A queue id: 19 hex digits, 11 of time in ms and 8 random, so that ids sort by time."""
    now = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    return f"{now & 0xFFFFFFFFFFF:011x}{secrets.token_hex(4)}"


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _decode(text: str, code: str, limit: int = MAX_MESSAGE_ID_CHARS) -> bytes:
    if len(text) > limit or not _BASE64URL.fullmatch(text):
        raise NotFound("Not found", code=code)
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise NotFound("Not found", code=code) from error


def _position(raw: bytes, code: str) -> MessageId:
    if len(raw) < _POSITION.size:
        raise NotFound("Not found", code=code)
    mailbox, uid = _POSITION.unpack_from(raw)
    if not mailbox or not uid:
        raise NotFound("Not found", code=code)
    return MessageId(mailbox, uid)
