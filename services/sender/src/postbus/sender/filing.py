"""The handler of `file` jobs: the copy in Sent and the flag on the answered message, by the account's owner.

Its failure is never the failure of a message: that one is delivered. It is tried for a day, then told in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from postbus.common import jobs
from postbus.common.bus import rpc
from postbus.common.bus.queue import drop_raw
from postbus.common.commands import FileMessage, owner_subject
from postbus.common.errors import BadInput, CommandRefused, NotFound, PostbusError, TooLarge, Unavailable
from postbus.common.jobs import Filing
from postbus.common.service import Parts
from postbus.common.times import now
from postbus.sender.queue import QueuedJob, is_of, put_dead_letter, reschedule

log = structlog.get_logger()

FILE_DEADLINE_S: Final = 120.0
GIVE_UP_AFTER: Final = timedelta(hours=24)
FIRST_GAP: Final = timedelta(seconds=5)
LONGEST_GAP: Final = timedelta(minutes=30)
_FINAL: Final = (CommandRefused, NotFound, BadInput, TooLarge)
_LATER: Final = frozenset({"UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "OVERQUOTA", "THROTTLED"})  # RFC 5530, 3


@dataclass(slots=True)
class FileHandler:
    """Handles `file` jobs."""

    parts: Parts
    first_gap: timedelta = FIRST_GAP
    deadline_s: float = FILE_DEADLINE_S

    async def handle(self, job: QueuedJob) -> bool:
        """Do one job; True when the account answers. Unavailable when the bus is away."""
        try:
            filing, inline = jobs.unpack_filing(job.message.data)
        except ValueError as error:
            log.error("job is unreadable", sequence=job.sequence)
            await put_dead_letter(self.parts.bus, job, f"unreadable: {type(error).__name__}")
            return True
        account = await self.parts.accounts.find(job.token)
        if account is None or not is_of(filing, account):
            log.info("filing dropped, its account is gone", queue_id=filing.queue_id)
        elif refusal := await self._file(job, filing, inline):
            if not _is_final(refusal) and now() - filing.created < GIVE_UP_AFTER:
                await reschedule(self.parts.bus, job, next_gap(filing, self.first_gap))
                return False
            log.warning("message not filed", account=filing.account, queue_id=filing.queue_id, reason=refusal.message)
        if filing.raw_chunks:
            await drop_raw(self.parts.bus, filing.raw_name)
        return True

    async def _file(self, job: QueuedJob, filing: Filing, inline: bytes) -> PostbusError | None:
        command = FileMessage(account=filing.account, filing=filing, raw=inline)
        try:
            await rpc.call(self.parts.bus, owner_subject(job.token, "file"), command, deadline_s=self.deadline_s)
        except Unavailable as error:
            if error.code == "BusUnavailable":
                raise
            return error
        except PostbusError as error:
            return error
        return None


def _is_final(refusal: PostbusError) -> bool:
    if isinstance(refusal, CommandRefused) and (refusal.server_code or "").upper() in _LATER:
        return False
    return isinstance(refusal, _FINAL)


def next_gap(filing: Filing, first: timedelta) -> timedelta:
    """A quarter of the time it has been tried for: gaps grow with it, and nothing has to be counted."""
    return min(max((now() - filing.created) / 4, first), LONGEST_GAP)
