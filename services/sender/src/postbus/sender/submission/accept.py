"""A message that came in over SMTP, on its way into the queue: what is kept here, the client is told 250 for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from postbus.common import metrics
from postbus.common.accepting import begin_submission, check_can_send, keep_submission, new_queue_id
from postbus.common.accounts import Account
from postbus.common.errors import BadInput
from postbus.common.jobs import Envelope, Submission
from postbus.common.mime.compose import wire_address
from postbus.common.mime.headers import parse_addresses
from postbus.common.mime.raw import CONTROL_PREFIX, RawMessage, Travelling, parse_raw, prepare_to_travel
from postbus.common.service import Parts
from postbus.common.store.idempotency import Asked, once
from postbus.common.times import iso, now
from postbus.sender.submission.controls import Controls, read_controls
from postbus.sender.submission.fingerprint import fingerprint

log = structlog.get_logger()

READ_HERE_BYTES: Final = 64 * 1024  # more is read in a thread: the loop delivers other mail meanwhile
WAIT_S: Final = 30.0  # for another message with the same idempotency key
NO_DOMAIN: Final = "localhost"


@dataclass(frozen=True, slots=True)
class Letter:
    """What DATA brought: `sender` is empty for the null address."""

    sender: str
    recipients: Sequence[str]
    raw: bytes


@dataclass(frozen=True, slots=True)
class Times:
    """When a message came, when it is to be sent, and the queue id drawn then."""

    created: datetime
    send_at: datetime
    fresh_id: str


class NoAccount(BadInput):
    """Nobody logged in, and the message does not name its account."""


async def accept(parts: Parts, account_id: str | None, letter: Letter) -> str:
    """Keep a message and say so; when this returns it is in the queue, as durable as one from the API.

    `account_id` is None where nobody has to log in: the message names its account then, or it is NoAccount. NotFound
    without the account or its SMTP side; BadInput and TooLarge for what can't be sent; Conflict where its idempotency
    key was used for another; Unavailable when it can't be kept.
    """
    message = await _read(letter.raw)
    controls = read_controls(_controls_of(message))
    account_id = account_id or controls.account
    if account_id is None:
        raise NoAccount("X-EE-Account has to name the account")
    account = await parts.accounts.get(account_id)
    check_can_send(account)
    created = now()
    send_at = max(controls.send_at or created, created)
    times = Times(created, send_at, new_queue_id(send_at))

    async def keep(queue_id: str) -> str:
        return queued_reply(await _keep(parts, account, letter, message, controls, times, queue_id))

    if controls.idempotency_key is None:
        return await keep(times.fresh_id)
    asked = Asked(controls.idempotency_key, await _fingerprint(letter, message), WAIT_S)
    reply, again = await once(parts.redis, account, asked, times.fresh_id, keep)
    if again:
        log.info("submission answered as before", account=account.token)
    return reply


def queued_reply(submission: Submission) -> str:
    """The reply to an accepted message; its words are the incumbent's."""
    return f"250 Message queued for delivery as {submission.queue_id} ({iso(submission.send_at)})"


def count(parts: Parts, *, accepted: bool) -> None:
    """Count a message by the names that dashboards know."""
    name = "smtpSubmitQueued" if accepted else "smtpSubmitFail"
    metrics.EVENTS.labels(name).inc()
    parts.stats.add(f"events:{name}")


async def _read(raw: bytes) -> RawMessage:
    return parse_raw(raw) if len(raw) <= READ_HERE_BYTES else await asyncio.to_thread(parse_raw, raw)


async def _fingerprint(letter: Letter, message: RawMessage) -> bytes:
    if len(letter.raw) <= READ_HERE_BYTES:
        return fingerprint(letter.sender, letter.recipients, message)
    return await asyncio.to_thread(fingerprint, letter.sender, letter.recipients, message)


def _controls_of(message: RawMessage) -> dict[str, str]:
    return {field.key: field.text for field in message.fields if field.key.startswith(CONTROL_PREFIX)}


async def _keep(
    parts: Parts,
    account: Account,
    letter: Letter,
    message: RawMessage,
    controls: Controls,
    times: Times,
    queue_id: str,
) -> Submission:
    travelling = _travelling(letter, message, times, queue_id)
    submission = begin_submission(
        account,
        message_id=travelling.message_id,
        envelope=_envelope(letter),
        size=len(travelling.raw),
        created=times.created,
        send_at=times.send_at,
        attempts=controls.attempts or parts.settings.current.delivery_attempts,
        queue_id=queue_id,
        bcc=travelling.bcc,
    )
    await keep_submission(parts, account, submission, travelling.raw, times.fresh_id)
    if controls.gateway:
        log.info("gateway ignored, there are none", account=account.token, queue_id=queue_id)
    log.info("submission accepted", account=account.token, queue_id=queue_id, size=submission.size)
    return submission


def _travelling(letter: Letter, message: RawMessage, times: Times, seed: str) -> Travelling:
    authors = (address for field in message.named("from") for address in parse_addresses(field.value))
    author = next((one.address for one in authors if one.address), letter.sender)
    domain = author.rpartition("@")[2].strip("[]").removeprefix("IPv6:") or NO_DOMAIN
    date, waits = times.send_at, times.send_at > times.created
    try:
        return prepare_to_travel(message, domain=domain, date=date, redate=waits, seed=seed)
    except BadInput:  # a domain that is none; who writes that in From is told by the next server
        return prepare_to_travel(message, domain=NO_DOMAIN, date=date, redate=waits, seed=seed)


def _envelope(letter: Letter) -> Envelope:
    try:
        recipients = tuple(dict.fromkeys(map(wire_address, letter.recipients)))
        return Envelope(sender=wire_address(letter.sender) if letter.sender else "", recipients=recipients)
    except ValueError as error:
        raise BadInput(f"An address {error}") from error
