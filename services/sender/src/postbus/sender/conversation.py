"""Deliveries in the log of their account: connections, and what the server answered, by code. No address, no content.

The words of a reply may repeat a recipient or a subject; they are in the events and in the status of the account.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from postbus.common.account_log import AccountLog
from postbus.common.accounts import Account
from postbus.common.service import Parts
from postbus.sender.outcome import Accepted, DeliveryFailed
from postbus.sender.session import Server, Session

_ENHANCED = re.compile(r"^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})\b")  # RFC 2034


@dataclass(slots=True)
class Conversation:
    """What one delivery has to tell; nothing is gathered while the log of the account is off."""

    log: AccountLog | None
    queue_id: str
    _started: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, parts: Parts, account: Account, queue_id: str) -> Conversation:
        """The conversation of a submission."""
        record = account.record
        lines = parts.settings.current.log_lines(record.account, wanted=record.logs)
        return cls(AccountLog(parts.redis, account.token, lambda: lines) if lines else None, queue_id)

    async def opening(self, server: Server, open_new: Callable[[], Awaitable[Session]]) -> Session:
        """Open a connection, login and all."""
        started = time.monotonic()
        session = await open_new()
        ms = int((time.monotonic() - started) * 1000)
        self._add("connected", host=server.host, port=server.port, secure=server.secure, ms=ms)
        return session

    def accepted(self, accepted: Accepted, *, reused: bool) -> None:
        """The server took the message."""
        taken, refused = len(accepted.recipients), len(accepted.refused)
        self._add("accepted", reused=reused, taken=taken, refused=refused, ms=self._ms(), **_codes(accepted.reply))

    def failed(self, failed: DeliveryFailed) -> None:
        """Nobody got it, this time."""
        failure = failed.failure
        self._add(
            "failed",
            command=failure.command,
            code=failure.code,
            uncertain=failure.uncertain or None,
            refused=len(failed.refused) or None,
            ms=self._ms(),
            **_codes(failure.reply or "", failure.reply_code),
        )

    async def close(self) -> None:
        """Write it, in one command."""
        if self.log is not None:
            await self.log.close()

    def _ms(self) -> int:
        return int((time.monotonic() - self._started) * 1000)

    def _add(self, event: str, **fields: str | int | bool | None) -> None:
        if self.log is not None:
            self.log.add("smtp", event=event, queueId=self.queue_id, **fields)


def _codes(reply: str, reply_code: int | None = None) -> dict[str, str | int | None]:
    """The codes of a reply: three digits, and the enhanced one where it has one."""
    enhanced = _ENHANCED.match(reply)
    if reply_code is None and reply[:3].isdecimal():
        reply_code = int(reply[:3])
    return {"replyCode": reply_code, "enhancedCode": enhanced[1] if enhanced else None}
