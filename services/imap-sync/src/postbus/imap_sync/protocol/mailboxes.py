"""LIST, LSUB, XLIST, STATUS and NAMESPACE (RFC 9051, 7.3; RFC 5819; RFC 2342)."""

from __future__ import annotations

from collections.abc import Sequence

from postbus.common.errors import ProtocolError
from postbus.imap_sync.protocol.tokens import Token, decode, number_of, parse_tokens, text_of
from postbus.imap_sync.protocol.utf7 import decode_utf7
from postbus.imap_sync.protocol.values import ListedMailbox, MailboxStatus

_MAX_NAMESPACES = 20
_NO_DELIMITER = (b"", b"NIL")
_XLIST = {"\\inbox": None, "\\allmail": "\\all", "\\spam": "\\junk", "\\starred": "\\flagged"}  # Gmail before RFC 6154


def parse_list(pieces: Sequence[bytes], start: int) -> tuple[ListedMailbox, bytes]:
    """mailbox-list, and the name as the server wrote it. ProtocolError when it is none."""
    tokens = parse_tokens(pieces, start=start)
    if len(tokens) < 3 or not isinstance(tokens[0], list):
        raise ProtocolError("the server sent a malformed mailbox list")
    raw = _raw_name(tokens[2:], pieces)
    attributes = frozenset(decode(item).lower() for item in tokens[0] if isinstance(item, bytes))
    delimiter = _delimiter(tokens[1])
    return ListedMailbox(name_of(raw, delimiter), delimiter, attributes), raw


def parse_xlist(pieces: Sequence[bytes], start: int) -> tuple[ListedMailbox, bytes]:
    """XLIST (Gmail before SPECIAL-USE): the inbox has a localised name and the flag \\Inbox."""
    listed, raw = parse_list(pieces, start)
    path = "INBOX" if "\\inbox" in listed.attributes else listed.path
    attributes = {_XLIST.get(name, name) for name in listed.attributes}
    return ListedMailbox(path, listed.delimiter, frozenset(name for name in attributes if name)), raw


def parse_status_data(pieces: Sequence[bytes], start: int) -> tuple[bytes, MailboxStatus]:
    """mailbox name as the server wrote it, and the status it gives. ProtocolError when it is none."""
    tokens = parse_tokens(pieces, start=start)
    if len(tokens) < 2 or not isinstance(tokens[-1], list):
        raise ProtocolError("the server sent a malformed status")
    raw = _raw_name(tokens[:-1], pieces)
    items = tokens[-1]
    said = {decode(name).upper(): value for name, value in _pairs(items)}
    return raw, MailboxStatus(
        messages=number_of(said.get("MESSAGES")),
        uid_next=number_of(said.get("UIDNEXT")) or None,
        uid_validity=number_of(said.get("UIDVALIDITY")) or None,
        unseen=number_of(said.get("UNSEEN")),
        highest_modseq=number_of(said.get("HIGHESTMODSEQ")) or None,
        mailbox_id=object_id_of(said.get("MAILBOXID")),
    )


def parse_personal_namespaces(pieces: Sequence[bytes], start: int) -> list[bytes]:
    """The prefixes of the user's own mailboxes (RFC 2342) as the server wrote them; none where it has none to tell."""
    tokens = parse_tokens(pieces, start=start)
    rows = tokens[0] if tokens and isinstance(tokens[0], list) else []
    firsts = [row[0] for row in rows if isinstance(row, list) and row]
    return [prefix for prefix in firsts if isinstance(prefix, bytes) and b"\0" not in prefix][:_MAX_NAMESPACES]


def name_of(raw: bytes, delimiter: str | None = None) -> str:
    """The path of a mailbox: Unicode, INBOX in upper case (RFC 9051, 5.1), without a delimiter in front."""
    path = decode_utf7(raw)
    if delimiter and len(path) > 1 and path.startswith(delimiter):
        path = path[1:]  # quirk_leading_delimiter
    if path.upper() == "INBOX":
        return "INBOX"
    if delimiter and path[:6].upper() == "INBOX" + delimiter:
        return "INBOX" + path[5:]
    return path


def object_id_of(token: Token) -> str | None:
    """An object id (RFC 8474), in parentheses or bare; None for NIL."""
    if isinstance(token, list):
        token = token[0] if token else None
    return text_of(token) or None


def _pairs(items: list[Token]) -> list[tuple[bytes, Token]]:
    return [(name, value) for name, value in zip(items[::2], items[1::2], strict=False) if isinstance(name, bytes)]


def _delimiter(token: Token) -> str | None:
    """One character, or None where there is no hierarchy; quirk_nil_delimiter: `"NIL"` as a string, or nothing."""
    return None if not isinstance(token, bytes) or token in _NO_DELIMITER else decode(token)[:1]


def _raw_name(tokens: Sequence[Token], pieces: Sequence[bytes]) -> bytes:
    """The one name there should be. quirk_unquoted_name: with spaces, it comes as several atoms."""
    if tokens and tokens[0] is None:
        return b"NIL"  # a mailbox of that name, unquoted
    words = [token for token in tokens if isinstance(token, bytes)]
    if not words:
        raise ProtocolError("the server sent a mailbox without a name")
    extended = len(tokens) != len(words)  # mbox-list-extended follows the name
    return words[0] if extended or len(pieces) > 1 else b" ".join(words)
