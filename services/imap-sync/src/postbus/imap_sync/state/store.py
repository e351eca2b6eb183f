"""The store as the owner of an account uses it: take it over, read indexes, commit, drain the outbox.

Each method is one command or one script. What it can run into: Fenced, AccountGone, StateConflict, Unavailable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec
import structlog
from redis.asyncio import Redis

from postbus.common import metrics
from postbus.common.errors import PostbusError
from postbus.common.events import Envelope
from postbus.common.store import keys
from postbus.common.store.client import Script, Value, as_text, store_errors
from postbus.common.store.outbox import pack_event, unpack_event
from postbus.imap_sync.state.commit import COMMIT, Commit
from postbus.imap_sync.state.identities import FROM_FIELD, Seen, parse_bucket
from postbus.imap_sync.state.index import SETS_FIELD, MailboxIndex, parse_index

log = structlog.get_logger()

# KEYS: account, outbox, identities. ARGV: epoch. Marks the account as ours, unless a later owner has done so.
_TAKE = Script("""
local known = redis.call('HMGET', KEYS[1], 'fence', 'record', 'commit', 'lastNumber', 'listTime')
if not known[2] then return {-1} end
if tonumber(known[1] or '0') > tonumber(ARGV[1]) then return {0} end
if known[1] ~= ARGV[1] then redis.call('HSET', KEYS[1], 'fence', ARGV[1]) end
return {1, known[3] or '', known[4] or '0', redis.call('LLEN', KEYS[2]), known[5] or '',
  redis.call('HGET', KEYS[3], 'from') or ''}
""")
# KEYS: account, outbox. ARGV: epoch, SHA-1 of the first entry, how many to remove. Sent twice it works once: then the
# first entry is another one.
_TRIM = Script("""
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return -1 end
local head = redis.call('LINDEX', KEYS[2], 0)
if head and redis.sha1hex(head) == ARGV[2] then redis.call('LTRIM', KEYS[2], ARGV[3], -1) end
return redis.call('LLEN', KEYS[2])
""")


class Fenced(PostbusError):
    """Another worker owns the account now: stop at once, commit nothing."""

    code = "WorkerNotAvailable"


class AccountGone(PostbusError):
    """The account was deleted, or deleted and created again."""

    code = "AccountNotFound"


class StateConflict(PostbusError):
    """The store holds another state than the one that was changed: read it again."""

    code = "StateConflict"


class IndexLost(PostbusError):
    """A mailbox has a row and no index, or one that can't be read: it has to be built anew."""

    code = "IndexLost"


@dataclass(frozen=True, slots=True)
class Taken:
    """What taking an account over tells: the last commit and mailbox number, how many events wait, the last listing.

    `seen_from`: since when the identities of announced messages are kept (seconds), None where none are.
    """

    commit: str
    last_number: int
    waiting: int
    listed_at: datetime | None
    seen_from: int | None


@dataclass(frozen=True, slots=True)
class Entries:
    """The head of an outbox; `first` and `count` name it for trimming."""

    events: Sequence[Envelope]
    first: bytes
    count: int
    size: int


class SyncStore:
    """Reads and writes of one worker."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def take(self, token: str, epoch: int) -> Taken:
        """Fence earlier owners off; Fenced when there is a later one."""
        names = [keys.account(token), keys.outbox(token), keys.seen(token)]
        status, *rest = await _TAKE.run(self._redis, names, [epoch])
        raise_refused(int(status))
        listed_at = datetime.fromisoformat(as_text(rest[3])) if rest[3] else None
        return Taken(as_text(rest[0]), int(rest[1]), int(rest[2]), listed_at, int(rest[4]) if rest[4] else None)

    async def rows(self, token: str) -> dict[str, bytes]:
        """The rows of all mailboxes, by path, as they are stored."""
        async with store_errors():
            found = await cast(Awaitable[dict[bytes, bytes]], self._redis.hgetall(keys.mailboxes(token)))
        return {as_text(path): row for path, row in found.items()}

    async def numbers(self, token: str, names: Sequence[str]) -> list[int | None]:
        """The numbers that were given to these `<uid_validity>:<path>` before."""
        if not names:
            return []
        async with store_errors():
            found = await cast(Awaitable[list[Any]], self._redis.hmget(keys.numbers(token), list(names)))
        return [None if raw is None else int(raw) for raw in found]

    async def paths_once_numbered(self, token: str) -> set[str]:
        """The paths of all mailboxes that ever had a number."""
        async with store_errors():
            found = await cast(Awaitable[dict[bytes, bytes]], self._redis.hgetall(keys.numbers(token)))
        return {as_text(named).partition(":")[2] for name, named in found.items() if name.startswith(b"n:")}

    async def index(self, token: str, number: int, chunks: Iterable[int] | None) -> MailboxIndex:
        """These chunks of an index, or all of them. IndexLost when there is none."""
        key = keys.index(token, number)
        async with store_errors():
            if chunks is None:
                whole = await cast(Awaitable[dict[bytes, bytes]], self._redis.hgetall(key))
                fields = {as_text(name): packed for name, packed in whole.items()}
            else:
                names = [SETS_FIELD, *map(str, sorted(chunks))]
                found = await cast(Awaitable[list[bytes | None]], self._redis.hmget(key, names))
                fields = {name: packed for name, packed in zip(names, found, strict=True) if packed is not None}
        if SETS_FIELD not in fields:
            raise IndexLost("the index of a mailbox is not in the store")
        try:
            return parse_index(fields)
        except ValueError as error:
            raise IndexLost(str(error)) from error

    async def chunks(self, token: str, number: int) -> list[int]:
        """Which chunks an index has."""
        async with store_errors():
            names = await cast(Awaitable[list[bytes]], self._redis.hkeys(keys.index(token, number)))
        return [int(name) for raw in names if (name := as_text(raw)) != SETS_FIELD]

    async def seen(self, token: str, buckets: Iterable[int]) -> Seen:
        """These buckets of the identities that were announced."""
        numbers = sorted(buckets)
        async with store_errors():
            found = await cast(
                Awaitable[list[bytes | None]], self._redis.hmget(keys.seen(token), [FROM_FIELD, *map(str, numbers)])
            )
        since, *packed = found
        loaded = {number: parse_bucket(raw) for number, raw in zip(numbers, packed, strict=True) if raw is not None}
        return Seen(int(since) if since else None, loaded)

    async def commit(self, token: str, epoch: int, generation: UUID, before: str, name: str, commit: Commit) -> int:
        """Change everything at once; returns how many events wait. `before` and `name` are of this and the last one."""
        names, calls = commit.compose(token)
        args: list[Value] = [epoch, str(generation), before, name, *calls]
        status, *rest = await COMMIT.run(self._redis, names, args)
        raise_refused(int(status))
        return int(rest[0])

    async def read_outbox(self, token: str, count: int) -> Entries | None:
        """The oldest events that wait, None when there are none. What can't be read is logged and counts as gone."""
        async with store_errors():
            found = await cast(Awaitable[list[bytes]], self._redis.lrange(keys.outbox(token), 0, count - 1))
        if not found:
            return None
        events = [event for raw in found if (event := _unpack(token, raw))]
        return Entries(events, found[0], len(found), sum(map(len, found)))

    async def trim_outbox(self, token: str, epoch: int, entries: Entries) -> int:
        """Remove what is published; returns how many events still wait. Fenced when another worker drains it now."""
        digest = hashlib.sha1(entries.first, usedforsecurity=False).hexdigest()
        names = [keys.account(token), keys.outbox(token)]
        left = int(await _TRIM.run(self._redis, names, [epoch, digest, entries.count]))
        if left < 0:
            raise _fenced()
        return left


def pack_entries(events: Sequence[Envelope]) -> Entries:
    """The entries that a commit of these events put into an outbox that was empty."""
    return Entries(events, pack_event(events[0]), len(events), sum(len(event.body) for event in events))


def raise_refused(status: int) -> None:
    """What a script answers when it did nothing: Fenced, AccountGone, StateConflict."""
    match status:
        case 0:
            raise _fenced()
        case -1:
            raise AccountGone("the account is gone")
        case -2:
            raise StateConflict("the state in the store is another one")


def _fenced() -> Fenced:
    metrics.FENCED.inc()
    return Fenced("another worker owns the account")


def _unpack(token: str, raw: bytes) -> Envelope | None:
    try:
        return unpack_event(raw)
    except (msgspec.DecodeError, ValueError):
        log.error("outbox entry not readable", account=token, size=len(raw))
        return None
