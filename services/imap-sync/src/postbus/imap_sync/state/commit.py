"""One commit: everything that changes together, as one script on the keys of one account.

The script refuses a stale owner (fence), another life of the account (generation), and a state that is not the one
the changes were made from (the name of the commit before). It can be sent again after a lost answer: then its own name
is already there, and nothing is done twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from postbus.common.accounts import MailboxRecord
from postbus.common.events import Envelope
from postbus.common.store import keys
from postbus.common.store.client import Script, Value
from postbus.common.store.outbox import pack_event

MAX_CALL_ARGS = 2_000  # of one call in the script; Lua's unpack ends at about 8,000

# KEYS: account, outbox, mailboxes, numbers, indexes ... ARGV: epoch, generation, commit before, this commit, calls:
# command, position of its key, number of arguments, arguments. Returns 1 and the length of the outbox; 0 fenced off,
# -1 the account is gone, -2 somebody else changed the state.
COMMIT = Script("""
local known = redis.call('HMGET', KEYS[1], 'fence', 'generation', 'commit')
if known[2] ~= ARGV[2] then return {-1} end
if known[1] ~= ARGV[1] then return {0} end
if known[3] ~= ARGV[4] then
  if (known[3] or '') ~= ARGV[3] then return {-2} end
  redis.call('HSET', KEYS[1], 'commit', ARGV[4])
  local i = 5
  while i <= #ARGV do
    local n = tonumber(ARGV[i + 2])
    redis.call(ARGV[i], KEYS[tonumber(ARGV[i + 1])], unpack(ARGV, i + 3, i + 2 + n))
    i = i + 3 + n
  end
end
return {1, redis.call('LLEN', KEYS[2])}
""")

_ACCOUNT, _OUTBOX, _MAILBOXES, _NUMBERS = 1, 2, 3, 4


@dataclass(slots=True)
class MailboxChange:
    """What becomes of one mailbox: its row (None: it goes), the fields of its index, and its number if that is new.

    The number of `retired` is never given again: what comes under its path later is another mailbox, with other events.
    """

    path: str
    row: MailboxRecord | None
    written: Mapping[str, bytes] = field(default_factory=dict)
    deleted: Sequence[str] = ()
    wiped: int | None = None  # number of the index to drop first
    numbered: bool = False
    retired: MailboxRecord | None = None


@dataclass(slots=True)
class Commit:
    """All that is committed at once: mailboxes, events, fields of the account (None removes one), identities seen."""

    mailboxes: list[MailboxChange] = field(default_factory=list)
    events: list[Envelope] = field(default_factory=list)
    fields: dict[str, str | None] = field(default_factory=dict)
    seen: dict[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Roughly its bytes."""
        chunks = sum(len(packed) for change in self.mailboxes for packed in change.written.values())
        return chunks + sum(len(event.body) for event in self.events) + 400 * len(self.mailboxes)

    def add(self, other: Commit) -> None:
        """Append what came later."""
        self.mailboxes += other.mailboxes
        self.events += other.events
        self.fields |= other.fields
        self.seen |= other.seen

    def compose(self, token: str) -> tuple[list[str], list[Value]]:
        """Keys and calls for the script."""
        calls = _Calls([keys.account(token), keys.outbox(token), keys.mailboxes(token), keys.numbers(token)])
        _add_rows(calls, self.mailboxes)
        for change in self.mailboxes:
            _add_index(calls, token, change)
        if written := {name: value for name, value in self.fields.items() if value is not None}:
            calls.add("HSET", _ACCOUNT, [part for pair in written.items() for part in pair])
        calls.add("HDEL", _ACCOUNT, [name for name, value in self.fields.items() if value is None])
        if self.seen:
            calls.add("HSET", calls.key(keys.seen(token)), [part for pair in self.seen.items() for part in pair])
        for name, count in Counter(event.event for event in self.events).items():
            calls.add("HINCRBY", _ACCOUNT, [f"count:{name}", count])
        calls.add("RPUSH", _OUTBOX, [pack_event(event) for event in self.events])
        return calls.keys, calls.args


class _Calls:
    """The calls of one script as a flat list."""

    def __init__(self, names: list[str]) -> None:
        self.keys = names
        self.args: list[Value] = []

    def key(self, name: str) -> int:
        """The position of a key, counted from 1."""
        if name not in self.keys:
            self.keys.append(name)
        return self.keys.index(name) + 1

    def add(self, command: str, key: int, args: Sequence[Value]) -> None:
        """One call, or several where there are too many arguments; none without arguments."""
        for start in range(0, len(args), MAX_CALL_ARGS):
            part = args[start : start + MAX_CALL_ARGS]
            self.args += [command, key, len(part), *part]


def _add_rows(calls: _Calls, changes: Sequence[MailboxChange]) -> None:
    """Rows and numbers of all mailboxes in one call each; of several changes of one mailbox the last row counts."""
    rows = {change.path: change.row for change in changes}
    numbers: list[Value] = []
    for change in changes:
        if (old := change.retired) is not None:
            calls.add("HDEL", _NUMBERS, [f"n:{old.number}", number_name(old.uid_validity, old.path)])
    for change in changes:
        if change.numbered and change.row is not None:
            named = number_name(change.row.uid_validity, change.path)
            numbers += [f"n:{change.row.number}", named, named, change.row.number]
    calls.add("HSET", _MAILBOXES, [part for path, row in rows.items() if row for part in (path, dump_row(row))])
    calls.add("HDEL", _MAILBOXES, [path for path, row in rows.items() if row is None])
    calls.add("HSET", _NUMBERS, numbers)


def _add_index(calls: _Calls, token: str, change: MailboxChange) -> None:
    if change.wiped is not None:
        calls.args += ["UNLINK", calls.key(keys.index(token, change.wiped)), 0]
    if change.row is None:
        return
    index = keys.index(token, change.row.number)
    if change.written:
        calls.add("HSET", calls.key(index), [part for pair in change.written.items() for part in pair])
    if change.deleted:
        calls.add("HDEL", calls.key(index), list(change.deleted))


def number_name(uid_validity: int | None, path: str) -> str:
    """What a mailbox number stands for: one path in one validity of its uids."""
    return f"{uid_validity}:{path}"


def dump_row(row: MailboxRecord) -> bytes:
    """A row as it is stored: without what is the default."""
    return row.model_dump_json(by_alias=True, exclude_defaults=True).encode()


@lru_cache(maxsize=256)
def parse_row(packed: bytes) -> MailboxRecord:
    """A row out of the store; the same again and again while nothing changes, and each request asks for some."""
    return MailboxRecord.model_validate_json(packed)
