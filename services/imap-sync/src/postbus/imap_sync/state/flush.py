"""Flushing an account: its index goes, in one script, and what was told of its mail is remembered by uid.

The numbers of mailboxes stay, so the ids of messages stay valid. Every row keeps the uid up to which mail was dealt
with: what lies below is indexed in silence, what lies above is announced, whatever the clock of the mail server says.
A new generation is drawn: what is told from now on has other ids than what was told before.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from redis.asyncio import Redis

from postbus.common.accounts import Account, AccountRecord, MailboxRecord
from postbus.common.commands import FlushAccount
from postbus.common.store import keys
from postbus.common.store.accounts import AccountStore, changed_meanwhile, dump_record, new_generation
from postbus.common.store.client import Script, Value, as_text, store_errors
from postbus.common.times import now
from postbus.imap_sync.state.commit import dump_row
from postbus.imap_sync.state.store import raise_refused

OVERLAP = timedelta(seconds=10)  # between our clock and that of a mail server
LONGEST_LOOK_BACK = timedelta(hours=1)
MAX_TRIES = 8

# KEYS: account, mailboxes, indexes ... ARGV: epoch, name of this flush, revision and commit it was made from, record,
# generation, name of the new commit, then path and row of each mailbox. Returns 1 when it is done, also when it was
# before; 0 fenced off, -1 the account is gone, -2 somebody changed something meanwhile.
_FLUSH = Script("""
local known = redis.call('HMGET', KEYS[1], 'record', 'fence', 'flush', 'revision', 'commit')
if not known[1] then return -1 end
if tonumber(known[2] or '0') > tonumber(ARGV[1]) then return 0 end
if known[3] == ARGV[2] then return 1 end
if known[4] ~= ARGV[3] or (known[5] or '') ~= ARGV[4] then return -2 end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'flush', ARGV[2], 'revision', tonumber(ARGV[3]) + 1, 'record', ARGV[5],
  'generation', ARGV[6], 'commit', ARGV[7])
redis.call('HDEL', KEYS[1], 'connectedBefore', 'syncTime', 'listTime', 'syncError')
for i = 8, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
for i = 3, #KEYS do redis.call('UNLINK', KEYS[i]) end
return 1
""")


@dataclass(frozen=True, slots=True)
class _Known:
    """What is stored of an account beside its record."""

    commit: str
    listed_at: datetime | None
    rows: Sequence[MailboxRecord]
    numbers: Sequence[int]


async def flush_account(redis: Redis, accounts: AccountStore, command: FlushAccount, epoch: int) -> None:
    """Flush it; done twice with the same `flush_id`, it is done once.

    What it can run into: NotFound, Fenced, AccountGone, Conflict when others keep changing it, Unavailable.
    """
    for _ in range(MAX_TRIES):
        account = await accounts.get(command.account)
        known = await _read(redis, accounts, account.token)
        names = [keys.account(account.token), keys.mailboxes(account.token)]
        names += [keys.index(account.token, number) for number in known.numbers]
        names += [keys.seen(account.token)] if tells_again(command) else []
        status = int(await _FLUSH.run(redis, names, _compose(account, known, command, epoch)))
        if status == 1:
            return
        if status != -2:
            raise_refused(status)
    raise changed_meanwhile()


async def _read(redis: Redis, accounts: AccountStore, token: str) -> _Known:
    """Commit first: whoever changes anything after it makes the script refuse."""
    async with store_errors():
        reading = cast(Awaitable[list[Any]], redis.hmget(keys.account(token), ["commit", "listTime"]))
        commit, listed = await reading
        fields = await cast(Awaitable[list[Any]], redis.hkeys(keys.numbers(token)))
    numbers = [int(name[2:]) for name in map(as_text, fields) if name.startswith("n:")]
    listed_at = datetime.fromisoformat(as_text(listed)) if listed else None
    return _Known(as_text(commit or ""), listed_at, await accounts.mailboxes(token), numbers)


def _compose(account: Account, known: _Known, command: FlushAccount, epoch: int) -> list[Value]:
    record = flushed_record(account.record, command, listed_at=known.listed_at, at=now())
    args: list[Value] = [epoch, command.flush_id, account.revision, known.commit]
    args += [dump_record(record), str(new_generation()), secrets.token_hex(8)]
    for row in known.rows:
        args += [row.path, dump_row(flushed_row(row, again=tells_again(command)))]
    return args


def flushed_record(
    record: AccountRecord, command: FlushAccount, *, listed_at: datetime | None, at: datetime
) -> AccountRecord:
    """The record with its new `notify_from`. Pure.

    From now on means: from when all mailboxes were last looked at (`listed_at`), so that nobody misses what came since;
    an account where that was more than an hour ago begins at `at`.
    """
    looked_at = listed_at or record.notify_from  # of a first pass that is not over nothing is told yet
    if not command.from_now:
        since = command.notify_from
    elif looked_at is not None and at - looked_at < LONGEST_LOOK_BACK:
        since = max(filter(None, (looked_at - OVERLAP, record.notify_from)))
    else:
        since = at
    indexer = command.imap_indexer or record.imap_indexer
    return record.model_copy(update={"notify_from": since, "imap_indexer": indexer})


def tells_again(command: FlushAccount) -> bool:
    """Whether mail is announced by its date alone, also what was announced before."""
    return not command.from_now and command.notify_from is not None


def flushed_row(row: MailboxRecord, *, again: bool) -> MailboxRecord:
    """The row of a mailbox that is not indexed, and knows what was dealt with. Pure."""
    dealt_with = (row.uid_next or 0) if row.synced else row.dealt_with
    gone = {"synced": False, "highest_modseq": None, "messages": 0, "unseen": None}
    return row.model_copy(update={**gone, "dealt_with": 0 if again else dealt_with})
