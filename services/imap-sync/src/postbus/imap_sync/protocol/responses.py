"""What kind of response it is: status lines with their codes, continuations, and labelled data (RFC 9051, 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from postbus.common.errors import CommandRefused, ProtocolError
from postbus.imap_sync.protocol.flags import parse_flags
from postbus.imap_sync.protocol.ranges import count, expand, parse_ranges, parse_set
from postbus.imap_sync.protocol.tokens import decode
from postbus.imap_sync.protocol.values import Appended, Copied, Vanished

STATUSES: Final = frozenset({"OK", "NO", "BAD", "BYE", "PREAUTH"})

_UNTAGGED = re.compile(rb"\* +(?:(\d{1,10}) +)?([A-Za-z][A-Za-z0-9-]*) ?")
_STATUS = re.compile(rb"(OK|NO|BAD|BYE|PREAUTH)(?: +(.*))?", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(
    r"\[([A-Za-z0-9_.\-/=]+)(?: +(\((?:[^()\"]|\"(?:[^\"\\]|\\.)*\")*\)|[^\]]*))?\]? *(.*)", re.DOTALL
)  # quirk_open_code: the closing bracket may be missing
_REV2: Final = frozenset(  # RFC 9051, Appendix E
    {
        "CHILDREN",
        "ENABLE",
        "ESEARCH",
        "IDLE",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "LITERAL-",
        "MOVE",
        "NAMESPACE",
        "SASL-IR",
        "SPECIAL-USE",
        "UIDPLUS",
        "UNSELECT",
    }
)
_MAX_TEXT: Final = 2_000  # characters of a server's text that we keep
_LONGEST_LIST: Final = 64 * 1024  # characters of a list of capabilities
_MAX_SHARED: Final = 2_000  # characters of a list of capabilities that is remembered
_NO_LONGER_THERE = re.compile(r"no longer exist|do(?:es)? not exist", re.IGNORECASE)
_BUSY = re.compile(r"throttl|too many|try again|temporar|suggested backoff|server busy|unavailable", re.IGNORECASE)
_THROTTLED = re.compile(r"throttl|suggested backoff", re.IGNORECASE)
_BUSY_CODES: Final = frozenset({"UNAVAILABLE", "LIMIT", "THROTTLED", "INUSE", "SERVERBUG", "OVERLOADED"})
_BACKOFF = re.compile(r"suggested backoff time:? *(\d{1,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Status:
    """OK, NO, BAD, BYE or PREAUTH, with its response code in upper case and that code's argument."""

    status: str
    text: str = ""
    code: str | None = None
    argument: str = ""

    @property
    def ok(self) -> bool:
        """Whether it says yes."""
        return self.status in ("OK", "PREAUTH")

    @property
    def messages_gone(self) -> bool:
        """quirk_gone_messages (Exchange): NO to a FETCH because some of the messages are gone."""
        return self.status == "NO" and (self.code == "EXPUNGEISSUED" or bool(_NO_LONGER_THERE.search(self.text)))

    @property
    def busy(self) -> bool:
        """Whether it means "later" and not "no" (RFC 5530; M365 says it in the text)."""
        return self.code in _BUSY_CODES or (self.code is None and bool(_BUSY.search(self.text)))

    @property
    def throttled(self) -> bool:
        """quirk_throttled (M365): BAD or NO that means "slower". The same command may well succeed in a moment."""
        return not self.ok and (self.code == "THROTTLED" or bool(_THROTTLED.search(self.text)))

    @property
    def backoff_s(self) -> float | None:
        """How long M365 asks us to wait: "Suggested Backoff Time: 292" is milliseconds."""
        found = _BACKOFF.search(self.text)
        return int(found[1]) / 1000 if found else None


@dataclass(frozen=True, slots=True)
class Untagged:
    """`* 12 FETCH (...)`: label in upper case, the number before it, and where its data starts in the first text."""

    label: str
    number: int | None
    start: int


def parse_untagged(text: bytes) -> Untagged | None:
    """The kind of an untagged response; None for what has no label."""
    found = _UNTAGGED.match(text)
    if found is None:
        return None
    number = found[1]
    return Untagged(found[2].decode("ascii").upper(), int(number) if number else None, found.end())


def parse_status(raw: bytes) -> Status | None:
    """resp-cond-state without what stands before it: `NO [OVERQUOTA] Full`; None for anything else."""
    found = _STATUS.fullmatch(raw)
    if found is None:
        return None
    status, text = found[1].decode("ascii").upper(), decode(found[2] or b"").strip()[: _MAX_TEXT * 50]
    code = _CODE.match(text)
    if code is None:
        return Status(status, text[:_MAX_TEXT])
    rest = code[3].strip()
    return Status(status, (rest or text)[:_MAX_TEXT], code[1].upper(), (code[2] or "").strip())


def refusal(error: CommandRefused) -> Status:
    """The status line that a refusal was made of."""
    return Status(error.status, error.message, error.server_code)


def parse_capabilities(text: str) -> frozenset[str]:
    """Names as they are compared: in upper case, with what IMAP4rev2 includes where it stands alone.

    Connections to servers alike share one set: 4 KB less for each.
    """
    return _shared_capabilities(text) if len(text) <= _MAX_SHARED else _capabilities(text)


def _capabilities(text: str) -> frozenset[str]:
    names = frozenset(text[:_LONGEST_LIST].upper().split())
    return names | _REV2 if "IMAP4REV2" in names and "IMAP4REV1" not in names else names


_shared_capabilities = lru_cache(maxsize=64)(_capabilities)


def parse_vanished(text: bytes) -> Vanished:
    """`(EARLIER) 1:3,5` (RFC 7162, 3.2.10)."""
    _, earlier, uids = text.upper().rpartition(b"(EARLIER)")
    return Vanished(parse_set(decode(uids).strip()), earlier=bool(earlier))


def parse_append_uid(status: Status) -> Appended:
    """APPENDUID (RFC 4315): where the message is; empty without that code or with a malformed one."""
    if status.code != "APPENDUID":
        return Appended()
    validity, _, uid = status.argument.partition(" ")
    if not all(number.isascii() and number.isdigit() and len(number) <= 10 for number in (validity, uid)):
        return Appended()
    return Appended(int(validity) or None, int(uid) or None)


def parse_copy_uid(status: Status, asked: int) -> Copied:
    """COPYUID (RFC 4315): where `asked` messages are now; empty without that code, with a malformed or a larger one."""
    words = status.argument.split()
    if status.code != "COPYUID" or len(words) != 3:
        return Copied()
    try:
        validity, sources, targets = parse_ranges(words[0]), parse_ranges(words[1]), parse_ranges(words[2])
    except ProtocolError:
        return Copied()
    if not count(sources) == count(targets) <= asked:
        return Copied()
    return Copied(validity[0].first, dict(zip(expand(sources), expand(targets), strict=True)))


def parse_permanent_flags(status: Status) -> frozenset[str] | None:
    """PERMANENTFLAGS; None where there are none in it: no sensible server keeps no flag at all and says so."""
    return frozenset(parse_flags(status.argument.strip("()").encode())) or None


def code_number(status: Status) -> int | None:
    """The number after a code such as UIDVALIDITY; None for 0 and for what is no number."""
    argument = status.argument
    return int(argument) or None if argument.isascii() and argument.isdigit() and len(argument) <= 20 else None
