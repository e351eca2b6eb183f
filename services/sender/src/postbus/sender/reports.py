"""What the world hears of a delivery: events, the account's last SMTP status, counters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Final

from postbus.common import metrics
from postbus.common.accounts import Account, SmtpStatus
from postbus.common.events import (
    AttemptInfo,
    DeliveryErrorInfo,
    Event,
    FailedInfo,
    MessageDeliveryError,
    MessageFailed,
    MessageSent,
    NetworkRouting,
    SentInfo,
    SmtpEnvelope,
    seal_event,
)
from postbus.common.jobs import Submission
from postbus.common.service import Parts
from postbus.common.telemetry import inject
from postbus.sender.outcome import Failure, Outcome, Route, refusal_failure

MAX_NAMED_CHARS: Final = 64 * 1024  # of recipients in an event, which has a limit of its own
MAX_ERROR_CHARS: Final = 2000


@dataclass(frozen=True, slots=True)
class Reporter:
    """Publishes what became of submissions. Everything here is idempotent by queue id and attempt."""

    parts: Parts

    async def report(self, account: Account, submission: Submission, outcome: Outcome, attempts: int) -> None:
        """All events of an attempt, and the account's status. Unavailable when the bus or the store is away."""
        counts = Counter[str]()
        for event in outcome_events(submission, outcome, attempts):
            counts[event.event] += await self._publish(account, submission, event)
        new = {name: count for name, count in counts.items() if count}
        await self.parts.accounts.put_smtp_status(account.token, smtp_status(outcome), new)

    async def _publish(self, account: Account, submission: Submission, event: Event) -> bool:
        """Whether the log has it only now, not from an attempt to report the same before."""
        sealed = seal_event(event, account.birth, submission.queue_id, submission.attempt)
        acknowledged = await self.parts.bus.publish_event(sealed, inject())
        if not acknowledged.duplicate:
            metrics.EVENTS.labels(event.event).inc()
            self.parts.stats.add(f"events:{event.event}")
        return not acknowledged.duplicate


def outcome_events(submission: Submission, outcome: Outcome, attempts: int) -> list[Event]:
    """The events an attempt amounts to: sent, an error for those it did not reach, failed when that was the last."""
    events: list[Event] = []
    if outcome.accepted:
        events.append(_sent(submission, outcome))
    failure = outcome.failure or _partial_failure(outcome)
    if failure:
        events.append(_error(submission, outcome, failure, attempts))
    if outcome.failure and not outcome.next_attempt:
        events.append(_failed(submission, outcome, outcome.failure))
    return events


def smtp_status(outcome: Outcome) -> SmtpStatus:
    """The outcome as the account shows it."""
    way = _routing(outcome.route)
    routing = way.model_dump(by_alias=True) if way else None
    if outcome.accepted:
        return SmtpStatus(created=outcome.at, status="ok", response=outcome.accepted.reply, network_routing=routing)
    failure = outcome.failure
    assert failure is not None
    return SmtpStatus(
        created=outcome.at,
        status="error",
        response=failure.reply,
        description=failure.error[:MAX_ERROR_CHARS],
        response_code=failure.reply_code,
        code=failure.code,
        command=failure.command,
        network_routing=routing,
    )


def _sent(submission: Submission, outcome: Outcome) -> MessageSent:
    assert outcome.accepted is not None
    given = outcome.accepted.message_id
    data = SentInfo(
        message_id=given or submission.message_id,
        original_message_id=submission.message_id if given else None,
        response=outcome.accepted.reply,
        queue_id=submission.queue_id,
        envelope=_envelope(submission, outcome.accepted.recipients),
        network_routing=_routing(outcome.route),
    )
    return MessageSent(account=submission.account, date=outcome.at, data=data)


def _error(submission: Submission, outcome: Outcome, failure: Failure, attempts: int) -> MessageDeliveryError:
    missed = [one.recipient for one in outcome.accepted.refused] if outcome.accepted else []
    data = DeliveryErrorInfo(
        queue_id=submission.queue_id,
        envelope=_envelope(submission, tuple(missed) or submission.envelope.recipients),
        message_id=submission.message_id,
        error=failure.error[:MAX_ERROR_CHARS],
        error_code=failure.code,
        smtp_response=failure.reply,
        smtp_response_code=failure.reply_code,
        smtp_command=failure.command,
        job=_attempt(submission, outcome.next_attempt, attempts),
        network_routing=_routing(outcome.route),
    )
    return MessageDeliveryError(account=submission.account, date=outcome.at, data=data)


def _failed(submission: Submission, outcome: Outcome, failure: Failure) -> MessageFailed:
    data = FailedInfo(
        message_id=submission.message_id,
        queue_id=submission.queue_id,
        error=f"Error: {failure.error[:MAX_ERROR_CHARS]}",
        outcome="uncertain" if failure.uncertain else "failed",
        network_routing=_routing(outcome.route),
    )
    return MessageFailed(account=submission.account, date=outcome.at, data=data)


def _partial_failure(outcome: Outcome) -> Failure | None:
    refused = outcome.accepted.refused if outcome.accepted else ()
    return refusal_failure(refused) if refused else None


def _attempt(submission: Submission, due: datetime | None, attempts: int) -> AttemptInfo:
    return AttemptInfo(
        id=submission.queue_id, attempts_made=submission.attempt, attempts=attempts, next_attempt=due or False
    )


def _envelope(submission: Submission, recipients: tuple[str, ...]) -> SmtpEnvelope:
    sizes = accumulate(len(recipient) for recipient in recipients)
    named = [recipient for recipient, size in zip(recipients, sizes, strict=True) if size <= MAX_NAMED_CHARS]
    return SmtpEnvelope(from_=submission.envelope.sender, to=named)


def _routing(route: Route | None) -> NetworkRouting | None:
    if route is None:
        return None
    return NetworkRouting.model_validate(route.model_dump())
