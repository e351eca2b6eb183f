"""The logs of accounts in the store: a list of lines each, limited in number and bytes, that ends by itself.

Whoever talks to a mail server for an account appends; nothing is appended to an account that is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from postbus.common.store import keys
from postbus.common.store.client import Script

MAX_LOG_BYTES = 4 * 1024 * 1024  # of one account
KEPT_S = 7 * 86_400  # after the last line
PAGE = 500  # lines that are read at once

# KEYS: account, lines, state. ARGV: name of the batch, most lines, most bytes, life time (s), lines ... Sent twice it
# works once. `first` counts the lines that are gone, so that who reads page by page is not led astray.
_APPEND = Script("""
if redis.call('HEXISTS', KEYS[1], 'record') == 0 then return 0 end
local known = redis.call('HMGET', KEYS[3], 'size', 'batch', 'first')
if known[2] == ARGV[1] then return 0 end
local count, size, first = redis.call('LLEN', KEYS[2]), tonumber(known[1] or '0'), tonumber(known[3] or '0')
if count == 0 then size = 0 end
for i = 5, #ARGV do
  count, size = redis.call('RPUSH', KEYS[2], ARGV[i]), size + #ARGV[i]
end
local gone = 0
while count > 0 and (count > tonumber(ARGV[2]) or size > tonumber(ARGV[3])) and gone < 20000 do
  size = size - #redis.call('LPOP', KEYS[2])
  count, gone = count - 1, gone + 1
end
redis.call('HSET', KEYS[3], 'size', size, 'batch', ARGV[1], 'first', first + gone)
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('EXPIRE', KEYS[3], ARGV[4])
return count
""")
# KEYS: lines, state. ARGV: number of the first line wanted, how many. Returns the number of the first line given, that
# of the next line to be written, and the lines.
_READ = Script("""
local first = tonumber(redis.call('HGET', KEYS[2], 'first') or '0')
local start = math.max(tonumber(ARGV[1]) - first, 0)
local lines = redis.call('LRANGE', KEYS[1], start, start + tonumber(ARGV[2]) - 1)
return {first + start, first + redis.call('LLEN', KEYS[1]), lines}
""")


@dataclass(frozen=True, slots=True)
class _Page:
    first: int
    end: int
    lines: Sequence[bytes]


async def append_log(redis: Redis, token: str, batch: str, lines: Sequence[bytes], *, max_lines: int) -> None:
    """Append lines, and drop the oldest above the limits; Unavailable. `batch` is a name of its own."""
    names = [keys.account(token), keys.log(token), keys.log_state(token)]
    await _APPEND.run(redis, names, [batch, max_lines, MAX_LOG_BYTES, KEPT_S, *lines])


async def read_log(redis: Redis, token: str) -> AsyncIterator[Sequence[bytes]]:
    """All lines that are there now, the oldest first, page by page; Unavailable."""
    page = await _read(redis, token, 0)
    end = page.end
    while page.lines and page.first < end:
        yield page.lines
        page = await _read(redis, token, page.first + len(page.lines))


async def _read(redis: Redis, token: str, start: int) -> _Page:
    first, end, lines = await _READ.run(redis, [keys.log(token), keys.log_state(token)], [start, PAGE])
    return _Page(int(first), int(end), lines)
