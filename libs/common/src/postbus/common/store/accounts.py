"""Accounts in the store: one hash each, an ordered index of all, and a set per partition for the workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import structlog
from pydantic import TypeAdapter
from redis.asyncio import Redis

from postbus.common import ids
from postbus.common.accounts import (
    Account,
    AccountRecord,
    AccountState,
    DisabledSubconnection,
    LastError,
    MailboxRecord,
    SmtpStatus,
    SyncError,
)
from postbus.common.errors import Conflict, NotFound
from postbus.common.events import Envelope
from postbus.common.store import keys
from postbus.common.store.client import Script, Value, as_text, store_errors
from postbus.common.store.outbox import pack_event

log = structlog.get_logger()

MAX_UPDATE_TRIES = 8
_BATCH = 500
_DISABLED: TypeAdapter[list[DisabledSubconnection]] = TypeAdapter(list[DisabledSubconnection])

_INDEX = Script("""
redis.call('ZADD', KEYS[1], 0, ARGV[1])
return redis.call('SADD', KEYS[2], ARGV[1])
""")
_UNINDEX = Script("""
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('SREM', KEYS[2], ARGV[1])
""")
# KEYS: account, outbox. ARGV: expected revision (-1: must not exist), n of fields, field, value ..., events ...
_WRITE = Script("""
local revision = tonumber(redis.call('HGET', KEYS[1], 'revision') or '-1')
if revision ~= tonumber(ARGV[1]) then return -1 end
local n = tonumber(ARGV[2])
for i = 3, 2 + n * 2, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[1], ARGV[i])
  else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
redis.call('HSET', KEYS[1], 'revision', revision + 1)
for i = 3 + n * 2, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
return revision + 1
""")


class AccountStore:
    """Reads and writes accounts. Records are written with a revision check; nobody's change gets lost."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def get(self, account: str) -> Account:
        """The account by its id as the user wrote it; NotFound when there is none."""
        found = await self.find(ids.account_token(account))
        if found is None or found.record.account != account:
            raise NotFound("Account record was not found for requested ID", code="AccountNotFound")
        return found

    async def find(self, token: str) -> Account | None:
        """The account by its token, or None."""
        async with store_errors():
            return _account(token, await self._redis.hgetall(keys.account(token)))

    async def create(self, record: AccountRecord, sealed: Mapping[str, str], event: Envelope, generation: UUID) -> bool:
        """Store a new account with its first event; False when the id is taken.

        It is indexed first: an index entry without an account is skipped, an account without one would be lost.
        """
        token = ids.account_token(record.account)
        await _INDEX.run(self._redis, _index_keys(token), [record.account])
        fields = {
            "generation": str(generation),
            "bornAs": str(generation),
            "record": dump_record(record),
            "state": AccountState.INIT if record.syncs else AccountState.UNSET,
            **_secrets(sealed),
        }
        return await self._write(token, -1, fields, [event])

    async def update(self, current: Account, record: AccountRecord, sealed: Mapping[str, str | None]) -> bool:
        """Replace the record and the given secrets (None removes one); False when somebody else wrote meanwhile."""
        await _INDEX.run(self._redis, _index_keys(current.token), [record.account])
        fields = {"record": dump_record(record), **_secrets(sealed)}
        written = await self._write(current.token, current.revision, fields, [])
        if not written:
            await self._index_as_it_is(current.token, record.account)
        return written

    async def delete(self, account: Account) -> None:
        """Remove the account and all that is stored under it; records of submissions end by their life time."""
        token = account.token
        async with store_errors():
            numbers = await self._redis.hkeys(keys.numbers(token))
            indexes = [keys.index(token, int(name[2:])) for raw in numbers if (name := as_text(raw)).startswith("n:")]
            listed = [keys.mailboxes(token), keys.numbers(token), keys.seen(token), keys.outbox(token)]
            listed += [keys.log(token), keys.log_state(token)]
            fetched = [keys.credentials(token, proto) for proto in ("imap", "smtp")]
            await self._redis.delete(keys.account(token), *listed, *fetched, *indexes)
        await self._index_as_it_is(token, account.record.account)

    async def ids(self) -> list[str]:
        """All account ids, in order."""
        async with store_errors():
            return [as_text(raw) for raw in await self._redis.zrange(keys.ACCOUNTS, 0, -1)]

    async def page(self, start: int, count: int) -> list[Account]:
        """Accounts by their order, `start` from 0."""
        async with store_errors():
            found = await self._redis.zrange(keys.ACCOUNTS, start, start + count - 1)
        return await self.many([as_text(raw) for raw in found])

    async def count(self) -> int:
        """How many there are."""
        async with store_errors():
            return int(await self._redis.zcard(keys.ACCOUNTS))

    async def many(self, accounts: Iterable[str]) -> list[Account]:
        """These accounts, in this order, without those that are gone and those whose record can't be read."""
        tokens = [ids.account_token(account) for account in accounts]
        found: list[Account] = []
        for start in range(0, len(tokens), _BATCH):
            batch = tokens[start : start + _BATCH]
            async with store_errors(), self._redis.pipeline(transaction=False) as pipe:
                for token in batch:
                    pipe.hgetall(keys.account(token))
                rows = await pipe.execute()
            found += [account for token, row in zip(batch, rows, strict=True) if (account := _readable(token, row))]
        return found

    async def states(self, accounts: Sequence[str]) -> list[AccountState | None]:
        """The state of each of these accounts, None for one that is gone; a fraction of the cost of reading them."""
        states: list[AccountState | None] = []
        for start in range(0, len(accounts), _BATCH):
            async with store_errors(), self._redis.pipeline(transaction=False) as pipe:
                for account in accounts[start : start + _BATCH]:
                    pipe.hget(keys.account(ids.account_token(account)), "state")
                states += [AccountState(as_text(raw)) if raw else None for raw in await pipe.execute()]
        return states

    async def partition(self, partition: int) -> set[str]:
        """Tokens of the accounts of a partition."""
        async with store_errors():
            members = await self._redis.smembers(keys.ACCOUNT_PARTITION % partition)
        return {ids.account_token(as_text(raw)) for raw in members}

    async def mailboxes(self, token: str) -> list[MailboxRecord]:
        """The stored listing, by path; it also serves while the account is not connected."""
        async with store_errors():
            rows = await self._redis.hvals(keys.mailboxes(token))
        return sorted((MailboxRecord.model_validate_json(row) for row in rows), key=lambda mailbox: mailbox.path)

    async def put_smtp_status(self, token: str, status: SmtpStatus, counts: Mapping[str, int] | None = None) -> None:
        """Note how the last delivery ended, and count its events by name, unless the account is gone."""
        key = keys.account(token)
        async with store_errors():
            if not await self._redis.hexists(key, "record"):
                return
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hset(key, "smtpStatus", status.model_dump_json(by_alias=True))
                for name, count in (counts or {}).items():
                    pipe.hincrby(key, f"count:{name}", count)
                await pipe.execute()

    async def _index_as_it_is(self, token: str, account: str) -> None:
        """Index an account that is there, forget one that is not: deleting and creating may have crossed."""
        async with store_errors():
            there = await self._redis.hexists(keys.account(token), "record")
        await (_INDEX if there else _UNINDEX).run(self._redis, _index_keys(token), [account])

    async def _write(self, token: str, revision: int, fields: Mapping[str, str], events: Iterable[Envelope]) -> bool:
        flat = [part for pair in fields.items() for part in pair]
        args: list[Value] = [revision, len(fields), *flat, *(pack_event(event) for event in events)]
        return int(await _WRITE.run(self._redis, [keys.account(token), keys.outbox(token)], args)) >= 0


def new_generation() -> UUID:
    """A new life of an account: it makes event ids differ from those of an earlier account of the same name."""
    return uuid4()


def changed_meanwhile() -> Conflict:
    """The error for an account that others keep changing."""
    return Conflict("The account is being changed by others, try again", code="AccountChanged")


def _index_keys(token: str) -> list[str]:
    return [keys.ACCOUNTS, keys.ACCOUNT_PARTITION % ids.partition_of(token)]


def _secrets(sealed: Mapping[str, str | None]) -> dict[str, str]:
    return {f"sealed:{name}": value or "" for name, value in sealed.items()}


def dump_record(record: AccountRecord) -> str:
    """A record as it is stored."""
    return record.model_dump_json(by_alias=True, exclude_none=True)


def _readable(token: str, row: Mapping[Any, Any]) -> Account | None:
    """The account, or None where there is none that we understand: one broken record must not hide the others."""
    try:
        return _account(token, row)
    except (ValueError, KeyError) as error:  # pydantic's errors are ValueErrors; their text repeats the record
        log.error("account not readable", account=token, error=type(error).__name__)
        return None


def _account(token: str, row: Mapping[Any, Any]) -> Account | None:
    values = {as_text(name): as_text(value) for name, value in row.items()}
    if "record" not in values:
        return None
    error, smtp_status = values.get("lastError"), values.get("smtpStatus")
    sync_error = values.get("syncError")
    return Account(
        token=token,
        record=AccountRecord.model_validate_json(values["record"]),
        generation=UUID(values["generation"]),
        revision=int(values["revision"]),
        state=AccountState(values["state"]),
        last_error=LastError.model_validate_json(error) if error else None,
        sync_time=values.get("syncTime"),
        smtp_status=SmtpStatus.model_validate_json(smtp_status) if smtp_status else None,
        sync_error=SyncError.model_validate_json(sync_error) if sync_error else None,
        sealed=_prefixed(values, "sealed:"),
        counters={name: int(count) for name, count in _prefixed(values, "count:").items()},
        connected_before="connectedBefore" in values,
        born_as=values.get("bornAs"),
        disabled_subconnections=tuple(_DISABLED.validate_json(values.get("subconnections") or "[]")),
    )


def _prefixed(values: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name[len(prefix) :]: value for name, value in values.items() if name.startswith(prefix)}
