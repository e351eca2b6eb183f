"""A message that came in over SMTP, on its way into the queue: what is kept here, the client is told 250 for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from postbus.common import metrics
from postbus.common.accepting import begin_submission, check_can_send
from postbus.common.accounts import Account
from postbus.common.bus.queue import put_submission
from postbus.common.errors import BadInput
from postbus.common.jobs import Envelope, Submission
from postbus.common.mime.compose import wire_address
from postbus.common.mime.headers import parse_addresses
from postbus.common.mime.raw import CONTROL_PREFIX, RawMessage, Travelling, parse_raw, prepare_to_travel
from postbus.common.service import Parts
from postbus.common.times import now
from postbus.sender.submission.controls import Controls, read_controls

log = structlog.get_logger()

READ_HERE_BYTES: Final = 64 * 1024  # more is read in a thread: the loop delivers other mail meanwhile
NO_DOMAIN: Final = "localhost"


@dataclass(frozen=True, slots=True)
class Letter:
    """What DATA brought: `sender` is empty for the null address."""

    sender: str
    recipients: Sequence[str]
    raw: bytes


class NoAccount(BadInput):
    """Nobody logged in, and the message does not name its account."""


async def accept(parts: Parts, account_id: str | None, letter: Letter) -> Submission:
    """Keep a message; when this returns it is in the queue, as durable as one from the API.

    `account_id` is None where nobody has to log in: the message names its account then, or it is NoAccount. NotFound
    without the account or its SMTP side; BadInput and TooLarge for what can't be sent; Unavailable when it can't be
    kept.
    """
    message = await _read(letter.raw)
    controls = read_controls(_controls_of(message))
    if controls.idempotency_key is not None:
        raise BadInput("X-EE-Idempotency-Key is not available in this version")
    account_id = account_id or controls.account
    if account_id is None:
        raise NoAccount("X-EE-Account has to name the account")
    account = await parts.accounts.get(account_id)
    check_can_send(account)
    submission, travelling = _submission(parts, account, letter, message, controls)
    await put_submission(parts.bus, submission, travelling.raw)
    if controls.gateway:
        log.info("gateway ignored, there are none", account=account.token, queue_id=submission.queue_id)
    log.info("submission accepted", account=account.token, queue_id=submission.queue_id, size=submission.size)
    return submission


def count(parts: Parts, *, accepted: bool) -> None:
    """Count a message by the names that dashboards know."""
    name = "smtpSubmitQueued" if accepted else "smtpSubmitFail"
    metrics.EVENTS.labels(name).inc()
    parts.stats.add(f"events:{name}")


async def _read(raw: bytes) -> RawMessage:
    return parse_raw(raw) if len(raw) <= READ_HERE_BYTES else await asyncio.to_thread(parse_raw, raw)


def _controls_of(message: RawMessage) -> dict[str, str]:
    return {field.key: field.text for field in message.fields if field.key.startswith(CONTROL_PREFIX)}


def _submission(
    parts: Parts, account: Account, letter: Letter, message: RawMessage, controls: Controls
) -> tuple[Submission, Travelling]:
    created = now()
    send_at = max(controls.send_at or created, created)
    travelling = _travelling(letter, message, send_at, waits=send_at > created)
    submission = begin_submission(
        account,
        message_id=travelling.message_id,
        envelope=_envelope(letter),
        size=len(travelling.raw),
        created=created,
        send_at=send_at,
        attempts=controls.attempts or parts.settings.current.delivery_attempts,
        bcc=travelling.bcc,
    )
    return submission, travelling


def _travelling(letter: Letter, message: RawMessage, date: datetime, *, waits: bool) -> Travelling:
    authors = (address for field in message.named("from") for address in parse_addresses(field.value))
    author = next((one.address for one in authors if one.address), letter.sender)
    domain = author.rpartition("@")[2].strip("[]").removeprefix("IPv6:") or NO_DOMAIN
    try:
        return prepare_to_travel(message, domain=domain, date=date, redate=waits)
    except BadInput:  # a domain that is none; who writes that in From is told by the next server
        return prepare_to_travel(message, domain=NO_DOMAIN, date=date, redate=waits)


def _envelope(letter: Letter) -> Envelope:
    try:
        recipients = tuple(dict.fromkeys(map(wire_address, letter.recipients)))
        return Envelope(sender=wire_address(letter.sender) if letter.sender else "", recipients=recipients)
    except ValueError as error:
        raise BadInput(f"An address {error}") from error
