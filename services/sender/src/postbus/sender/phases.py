"""How far a submission got, in the store: what makes a second delivery of the same job safe.

Phases of an attempt: `sending` (nothing final happened), `data` (the end of the message may have gone out), `ended`
(the outcome is known and stored). Who works on it renews `seen`; who stops doing so is taken to be gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from redis.asyncio import Redis

from postbus.common.errors import PostbusError
from postbus.common.store import keys
from postbus.common.store.client import Script, Value, as_text
from postbus.common.times import now
from postbus.sender.outcome import Outcome

KEPT_S: Final = 7 * 86_400  # longer than the deadline of a submission
GONE_AFTER_S: Final = 15.0  # of silence; below the time after which the bus hands the job to somebody else

# KEYS: submission. ARGV: attempt, owner, now (ms), gone after (ms), kept (s)
_BEGIN = Script("""
local s = redis.call('HMGET', KEYS[1], 'attempt', 'phase', 'owner', 'seen', 'outcome', 'partly')
local attempt, phase = tonumber(s[1] or '0'), s[2]
if attempt > tonumber(ARGV[1]) then return {'stale', '', ''} end
if attempt == tonumber(ARGV[1]) then
  if phase == 'ended' then return {'ended', s[5] or '', s[6] or ''} end
  if s[3] ~= ARGV[2] and tonumber(s[4] or '0') + tonumber(ARGV[4]) > tonumber(ARGV[3]) then return {'busy', '', ''} end
else
  phase = 'sending'
end
redis.call('HSET', KEYS[1], 'attempt', ARGV[1], 'phase', phase, 'owner', ARGV[2], 'seen', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return {phase, '', s[6] or ''}
""")
# KEYS: submission. ARGV: attempt, owner, then fields and values. Nothing happens when it is not the owner's any more.
_WRITE = Script("""
local s = redis.call('HMGET', KEYS[1], 'attempt', 'owner')
if s[1] ~= ARGV[1] or s[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return 1
""")


class Found(StrEnum):
    """What a job finds when it begins."""

    SENDING = "sending"  # go on: nothing of this attempt reached anybody
    DATA = "data"  # the end of the message may have gone out, and nobody is left who waits for the answer
    ENDED = "ended"  # only the rest has to be done
    BUSY = "busy"  # somebody else is at it
    STALE = "stale"  # a later attempt exists


@dataclass(frozen=True, slots=True)
class Beginning:
    """What was found. `outcome` with ENDED; `partly` when an earlier attempt reached some of the recipients."""

    found: Found
    outcome: Outcome | None = None
    partly: bool = False


class LostSubmission(PostbusError):
    """Somebody else took the submission over: stop, before the end of the message goes out."""

    code = "LostSubmission"


@dataclass(frozen=True, slots=True)
class Phases:
    """One attempt of one submission, as its owner sees it. Every call raises Unavailable when the store is away."""

    redis: Redis
    token: str
    queue_id: str
    attempt: int
    owner: str

    async def begin(self, gone_after_s: float = GONE_AFTER_S) -> Beginning:
        """Take the attempt, if it is there to be taken."""
        args: list[Value] = [self.attempt, self.owner, _now_ms(), int(gone_after_s * 1000), KEPT_S]
        found, outcome, partly = await _BEGIN.run(self.redis, [self._key], args)
        stored = Outcome.model_validate_json(outcome) if outcome else None
        return Beginning(Found(as_text(found)), stored, bool(partly))

    async def enter_data(self) -> None:
        """From here on nobody sends it again; LostSubmission when it is not ours any more."""
        if not await self._write("phase", "data", "seen", str(_now_ms())):
            raise LostSubmission("the submission was taken over")

    async def end(self, outcome: Outcome) -> None:
        """Keep the outcome."""
        partly = ["partly", "1"] if outcome.accepted and outcome.retry else []
        await self._write("phase", "ended", "outcome", outcome.model_dump_json(), *partly)

    async def renew(self) -> None:
        """Say that we are still at it."""
        await self._write("seen", str(_now_ms()))

    async def withdraw(self) -> None:
        """Let somebody else begin at once, as the end of the message did not go out whatever `enter_data` wrote."""
        await self._write("phase", "sending", "seen", "0")

    async def release(self) -> None:
        """Let somebody else begin at once."""
        await self._write("seen", "0")

    async def _write(self, *fields: str) -> bool:
        return bool(await _WRITE.run(self.redis, [self._key], [str(self.attempt), self.owner, *fields]))

    @property
    def _key(self) -> str:
        return keys.submission(self.token, self.queue_id)


def _now_ms() -> int:
    return int(now().timestamp() * 1000)
