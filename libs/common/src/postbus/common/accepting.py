"""What every way to submit a message has in common: how a submission begins, how long it may wait and be tried."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from postbus.common import ids
from postbus.common.accounts import Account
from postbus.common.bus.queue import chunk_count, is_queued, put_submission
from postbus.common.errors import BadInput, NotFound
from postbus.common.jobs import Envelope, Submission
from postbus.common.service import Parts
from postbus.common.store import keys
from postbus.common.store.client import store_errors

DELIVERY_TIME: Final = timedelta(days=3)
MAX_WAIT_INLINE: Final = timedelta(days=366)
MAX_WAIT_LARGE: Final = timedelta(days=26)  # bytes in RAW are kept for 30 days, and delivery may take three


def check_can_send(account: Account) -> None:
    """NotFound where the account has no SMTP side."""
    if account.record.smtp is None:
        raise NotFound("No SMTP configuration found for this account", code="SMTPUnavailable")


def check_wait(wait: timedelta, size: int) -> None:
    """BadInput where a message of this size, in bytes, can't be kept as long as that."""
    limit = MAX_WAIT_LARGE if chunk_count(size) else MAX_WAIT_INLINE
    if wait > limit:
        message = f'"sendAt" must be within {limit.days} days for a message of this size'
        raise BadInput(fields=[{"key": "sendAt", "message": message}])


def new_queue_id(send_at: datetime) -> str:
    """The id of a submission; ids sort by the time of sending."""
    return ids.new_queue_id(int(send_at.timestamp() * 1000))


async def keep_submission(parts: Parts, account: Account, submission: Submission, raw: bytes, fresh: str) -> None:
    """Put a submission on the bus, unless it may be there: under another queue id than the `fresh` one of this call.

    Unavailable when it can't be kept; TooLarge with too many recipients.
    """
    if submission.queue_id != fresh:
        if await _is_kept(parts, account, submission.queue_id):
            return
        submission = submission.model_copy(update={"raw_id": fresh})  # the first one may be slow instead of dead
    await put_submission(parts.bus, submission, raw)


async def _is_kept(parts: Parts, account: Account, queue_id: str) -> bool:
    """Whether it waits in the queue, or somebody has begun to send it."""
    if await is_queued(parts.bus, account.token, queue_id):
        return True
    async with store_errors():
        return bool(await parts.redis.exists(keys.submission(account.token, queue_id)))


def begin_submission(
    account: Account,
    *,
    message_id: str,
    envelope: Envelope,
    size: int,
    created: datetime,
    send_at: datetime,
    attempts: int | None,
    queue_id: str | None = None,
    **wishes: Any,
) -> Submission:
    """The submission of a message, to be put on the bus; `wishes` are its further fields.

    The `queue_id` is a new one unless the same submission may have been begun before (`store.idempotency`).
    `attempts` 0 or None means that only the deadline counts. BadInput as `check_wait`.
    """
    check_wait(send_at - created, size)
    return Submission(
        queue_id=queue_id or new_queue_id(send_at),
        account=account.record.account,
        account_born_as=account.born_as,
        message_id=message_id,
        envelope=envelope,
        created=created,
        send_at=send_at,
        deadline=send_at + DELIVERY_TIME,
        attempts_limit=attempts or None,
        size=size,
        raw_chunks=chunk_count(size),
        **wishes,
    )
