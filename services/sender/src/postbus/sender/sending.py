"""The handler of `send` jobs: begin, deliver, keep the outcome, tell, and see to what follows.

Every step after the outcome is stored is idempotent by queue id and attempt, so a crash between any two of them is
cured by the job coming again. A job whose end of data went out without an answer is never sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Final

import structlog

from postbus.common import jobs
from postbus.common.accounts import Account
from postbus.common.bus.queue import drop_raw, put_filing, schedule_submission
from postbus.common.errors import PostbusError, Unavailable
from postbus.common.jobs import Envelope, Filing, Submission
from postbus.common.service import Parts
from postbus.common.times import now
from postbus.sender import outcome as facts
from postbus.sender.delivery import Deliverer
from postbus.sender.outcome import DeliveryFailed, Failure, Outcome, Route
from postbus.sender.phases import GONE_AFTER_S, Beginning, Found, Phases
from postbus.sender.queue import Postpone, QueuedJob, is_of, put_dead_letter
from postbus.sender.reports import Reporter
from postbus.sender.retry import RetryPolicy

log = structlog.get_logger()

BUSY_AGAIN_S: Final = 15.0
KEEP_OUTCOME_S: Final = 600.0  # so long a store that is away is waited for
KEEP_AGAIN_S: Final = 0.5
_UNHEARD: Final = "The connection ended before the server confirmed the message; it may have been delivered"


@dataclass(slots=True)
class SendHandler:
    """Handles `send` jobs. `gone_after_s`: silence after which another sender counts as dead."""

    parts: Parts
    deliverer: Deliverer
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    gone_after_s: float = GONE_AFTER_S

    async def handle(self, job: QueuedJob) -> bool:
        """Do one job; True when the account's server works. Errors as `JobQueue.handle`."""
        try:
            submission, inline = jobs.unpack_submission(job.message.data)
        except ValueError as error:
            log.error("job is unreadable", sequence=job.sequence)
            await put_dead_letter(self.parts.bus, job, f"unreadable: {type(error).__name__}")
            return True
        account = await self.parts.accounts.find(job.token)
        if account is None or not is_of(submission, account):
            log.info("submission dropped, its account is gone", queue_id=submission.queue_id)
            await drop_raw(self.parts.bus, submission.raw_name)
            return True
        owner = f"{self.parts.worker}:{job.sequence}"
        phases = Phases(self.parts.redis, job.token, submission.queue_id, submission.attempt, owner)
        beginning = await phases.begin(self.gone_after_s)
        job.keep_alive = phases.renew
        outcome = await self._outcome(beginning, account, submission, inline, phases)
        if outcome is None:
            return True
        await self._conclude(job, account, submission, inline, outcome, partly=beginning.partly)
        return outcome.accepted is not None or (outcome.failure is not None and outcome.failure.reply_code is not None)

    async def _outcome(
        self, beginning: Beginning, account: Account, submission: Submission, inline: bytes, phases: Phases
    ) -> Outcome | None:
        """How the attempt ended: known already, unknown for ever, or found out now. None when a later one exists."""
        match beginning.found:
            case Found.STALE:
                return None
            case Found.BUSY:
                raise Postpone("another sender is at it", BUSY_AGAIN_S)
            case Found.ENDED if beginning.outcome is not None:
                return beginning.outcome
            case Found.DATA | Found.ENDED:
                outcome = Outcome(at=now(), failure=Failure(error=_UNHEARD, code="EUNCERTAIN", uncertain=True))
                await phases.end(outcome)
                return outcome
        try:
            outcome = await self._attempt(account, submission, inline, phases)
        except PostbusError:  # the end of the message did not go out
            await _quietly(phases.withdraw())
            raise
        except BaseException:
            await _quietly(phases.release())
            raise
        await _keep(phases, outcome)
        return outcome

    async def _attempt(self, account: Account, submission: Submission, inline: bytes, phases: Phases) -> Outcome:
        route: Route | None = None
        try:
            server, route = await self.deliverer.choose_route(account, submission)
            accepted = await self.deliverer.deliver(account, submission, inline, server, phases)
        except DeliveryFailed as failed:
            again = facts.recipients_to_retry(submission.envelope.recipients, failed.failure, failed.refused)
            return self._decided(submission, again, Outcome(at=now(), failure=failed.failure, route=route))
        return self._decided(
            submission, facts.deferred_recipients(accepted), Outcome(at=now(), accepted=accepted, route=route)
        )

    def _decided(self, submission: Submission, again: tuple[str, ...], outcome: Outcome) -> Outcome:
        due = self.policy.next_attempt(submission, outcome.at) if again else None
        return outcome.model_copy(update={"retry": again if due else (), "next_attempt": due})

    async def _conclude(
        self,
        job: QueuedJob,
        account: Account,
        submission: Submission,
        inline: bytes,
        outcome: Outcome,
        *,
        partly: bool,
    ) -> None:
        """Tell, then see to the next attempt, the copy, the dead letter; the job is acked after that."""
        await Reporter(self.parts).report(account, submission, outcome, self.policy.attempts(submission))
        if outcome.next_attempt is not None:
            await schedule_submission(self.parts.bus, _next_attempt(submission, outcome), inline)
        if outcome.failure is not None and outcome.next_attempt is None:
            kind = "uncertain" if outcome.failure.uncertain else "failed"
            await put_dead_letter(self.parts.bus, job, outcome.failure.error, **{"Ee-Outcome": kind})
        # Bytes in RAW go away with the filing: it waits for the last attempt then.
        if _reached_somebody(outcome, partly) and (outcome.next_attempt is None or not submission.raw_chunks):
            await self._file(account, submission, inline, outcome)
        _log(submission, outcome)

    async def _file(self, account: Account, submission: Submission, inline: bytes, outcome: Outcome) -> None:
        filing = _filing(account, submission, outcome)
        if filing is not None:
            await put_filing(self.parts.bus, filing, inline)
        elif outcome.next_attempt is None and submission.raw_chunks:
            await drop_raw(self.parts.bus, submission.raw_name)


def _next_attempt(submission: Submission, outcome: Outcome) -> Submission:
    envelope = Envelope(sender=submission.envelope.sender, recipients=outcome.retry)
    assert outcome.next_attempt is not None
    changes = {"attempt": submission.attempt + 1, "send_at": outcome.next_attempt, "envelope": envelope}
    return submission.model_copy(update=changes)


def _filing(account: Account, submission: Submission, outcome: Outcome) -> Filing | None:
    """What is left to do in the mailbox; None where there is none, or nothing to do."""
    wanted = next((wish for wish in (submission.copy_sent, account.record.copy_sent) if wish is not None), True)
    if account.record.imap is None or account.record.imap.disabled or not (wanted or submission.reference):
        return None
    return Filing(
        queue_id=submission.queue_id,
        account=submission.account,
        account_born_as=submission.account_born_as,
        message_id=submission.message_id,
        created=outcome.at,
        size=submission.size,
        raw_chunks=submission.raw_chunks,
        raw_id=submission.raw_id,
        bcc=submission.bcc,
        copy_sent=wanted,
        copy_asked=submission.copy_sent is True,
        sent_mail_path=submission.sent_mail_path,
        reference=submission.reference,
    )


def _reached_somebody(outcome: Outcome, partly: bool) -> bool:
    return outcome.accepted is not None or partly


def _log(submission: Submission, outcome: Outcome) -> None:
    about = {"account": submission.account, "queue_id": submission.queue_id, "attempt": submission.attempt}
    refused = len(outcome.accepted.refused) if outcome.accepted else 0
    if outcome.accepted is not None:
        log.info("message sent", **about, refused_recipients=refused)
    elif outcome.failure is not None:
        again = outcome.next_attempt is not None
        log.warning(
            "message not sent", **about, code=outcome.failure.code, reply=outcome.failure.reply_code, again=again
        )


async def _keep(phases: Phases, outcome: Outcome) -> None:
    """Store the outcome, waiting for a store that is away: without it the same job would be uncertain next time."""
    try:
        async with asyncio.timeout(KEEP_OUTCOME_S):
            while True:
                try:
                    return await phases.end(outcome)
                except Unavailable:
                    await asyncio.sleep(KEEP_AGAIN_S)
    except TimeoutError:
        log.error("outcome of a submission could not be kept", queue_id=phases.queue_id)


async def _quietly(step: Awaitable[None]) -> None:
    try:
        await step
    except PostbusError as error:
        log.warning("state of a submission could not be kept", reason=error.message)
