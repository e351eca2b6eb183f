"""From a request to a submission on the bus: composed once, with its final Message-ID, kept before anybody is told."""

from __future__ import annotations

import asyncio
import binascii
import mimetypes
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from postbus.api.masking import is_masked_url
from postbus.api.owner import ask_owner
from postbus.api.replies import Threading, recipients_of, subject_of, threading_of
from postbus.api.schemas.submit import (
    AddressInput,
    AttachmentInput,
    IdempotencyAnswer,
    Queued,
    ReferenceAnswer,
    SubmitInput,
)
from postbus.common import commands, ids
from postbus.common.accepting import begin_submission, check_can_send, keep_submission, new_queue_id
from postbus.common.accounts import Account
from postbus.common.commands import ReferenceInfo
from postbus.common.errors import BadInput, NotFound, ProtocolError
from postbus.common.jobs import Envelope, ReferenceTask, Submission
from postbus.common.mime.compose import compose_address_list, compose_message, new_message_id
from postbus.common.mime.outgoing import OutgoingAddress, OutgoingAttachment, OutgoingMessage, wire_address
from postbus.common.network import seal_asked_proxy
from postbus.common.service import Parts
from postbus.common.store.idempotency import Asked, once
from postbus.common.times import now

COMPOSE_HERE_CHARS = 64 * 1024  # more is composed in a thread: the loop serves others meanwhile

_SPACE = re.compile(r"\s+")
_STRIPPED = str.maketrans("-_", "+/")


async def submit(
    parts: Parts, account: Account, given: SubmitInput, *, deadline_s: float, key: str | None = None
) -> Queued:
    """Keep the message and return what the client is told; with an idempotency key, what it was told before.

    BadInput lists what is wrong with it; NotFound without an SMTP side, and where the original of a reply is missing;
    Conflict where the key was used for another message; Unavailable when the bus can't keep it. Nothing is sent then.
    """
    check_can_send(account)
    created = now()
    send_at = max(given.send_at or created, created)
    fresh_id = new_queue_id(send_at)

    async def keep(queue_id: str) -> Queued:
        composed = await compose(parts, account, given, send_at, deadline_s=deadline_s, seed=queue_id)
        submission = _submission(parts, account, given, composed, created, send_at, queue_id)
        await keep_submission(parts, account, submission, composed.raw, fresh_id)
        return Queued(
            message_id=composed.message.message_id,
            send_at=send_at,
            queue_id=queue_id,
            reference=composed.reference,
        )

    async def keep_once(queue_id: str) -> str:
        return (await keep(queue_id)).model_dump_json(by_alias=True)

    if not key:
        return await keep(fresh_id)
    fingerprint = given.model_dump_json(by_alias=True, exclude_unset=True).encode()
    asked = Asked(key, fingerprint, wait_s=deadline_s)
    answer, again = await once(parts.redis, account, asked, fresh_id, keep_once)
    told = IdempotencyAnswer(key=key, status="HIT" if again else "MISS")
    return Queued.model_validate_json(answer).model_copy(update={"idempotency": told})


@dataclass(frozen=True, slots=True)
class Composed:
    """A message for the wire, without its Bcc, and what became of its reference."""

    message: OutgoingMessage
    raw: bytes
    reference: ReferenceAnswer | None


async def compose(
    parts: Parts,
    account: Account,
    given: SubmitInput,
    date: datetime,
    *,
    deadline_s: float,
    seed: str | None = None,
) -> Composed:
    """Compose what a client describes; BadInput lists what is wrong, NotFound where the original is missing.

    A Message-ID that is made follows from `seed`, where there is one.
    """
    _check_sizes(given, parts.config.max_size)
    original = await _fetch_original(parts, account, given, deadline_s)
    message = _message(account, given, original, date, seed)
    return Composed(message, await _composed(given, message), _reference_answer(given, original))


def compose_bcc(given: SubmitInput) -> str | None:
    """The value of the Bcc header of a copy; None without such recipients."""
    bcc = _addresses(given.bcc)
    return compose_address_list(bcc) if bcc else None


def check_lengths(contents: Iterable[tuple[str, str | None]], max_size: int) -> None:
    """Text, HTML and each attachment as written have their own limit, in characters (contract, section 3)."""
    over = [key for key, content in contents if content is not None and len(content) > max_size]
    if over:
        message = f"length must be less than or equal to {max_size} characters long"
        raise BadInput(fields=[{"key": key, "message": f'"{key}" {message}'} for key in over])


def decode_content(content: str, key: str) -> bytes:
    """Base64, also URL-safe, unpadded or folded; BadInput for anything else."""
    text = _SPACE.sub("", content).translate(_STRIPPED).rstrip("=")
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(fields=[{"key": key, "message": f'"{key}" must be base64'}]) from error


async def _fetch_original(
    parts: Parts, account: Account, given: SubmitInput, deadline_s: float
) -> ReferenceInfo | None:
    if given.reference is None:
        return None
    try:
        ids.parse_message_id(given.reference.message)
        command = commands.GetReference(account=account.record.account, message=given.reference.message)
        answer = await ask_owner(parts, "reference", command, deadline_s=deadline_s)
        return ReferenceInfo.model_validate_json(answer)
    except NotFound as error:
        raise NotFound("The referenced message was not found", code="ReferenceNotFound") from error
    except ValidationError as error:
        raise ProtocolError("the owner's answer is unreadable") from error


def _check_sizes(given: SubmitInput, max_size: int) -> None:
    contents = [("text", given.text), ("html", given.html)]
    contents += [(f"attachments.{n}.content", one.content) for n, one in enumerate(given.attachments or ())]
    check_lengths(contents, max_size)


def _message(
    account: Account, given: SubmitInput, original: ReferenceInfo | None, date: datetime, seed: str | None
) -> OutgoingMessage:
    sender = _sender(account, given)
    action = given.reference.action if given.reference else "reply"
    threading = threading_of(original, action) if original else Threading()
    to = _addresses(given.to)
    if original and action == "reply" and not to:
        to = recipients_of(original)
    subject = given.subject
    if subject is None:
        subject = subject_of(original, action) if original else ""
    return OutgoingMessage(
        sender=sender,
        to=to,
        cc=_addresses(given.cc),
        reply_to=_addresses(given.reply_to),
        subject=subject,
        text=given.text,
        html=given.html,
        attachments=(),
        headers=tuple((name, value) for name, values in (given.headers or {}).items() for value in values),
        message_id=_message_id(given, sender, seed),
        date=date,
        in_reply_to=threading.in_reply_to,
        references=threading.references,
    )


def _sender(account: Account, given: SubmitInput) -> OutgoingAddress:
    if given.from_ is not None:
        return OutgoingAddress(given.from_.name or "", given.from_.address)
    record = account.record
    user = record.smtp.user if record.smtp else None
    address = record.email or (user if user and "@" in user else None)
    if address is None:
        raise BadInput(fields=[{"key": "from", "message": '"from" is required, as the account has no email'}])
    return OutgoingAddress(record.name, address)


def _message_id(given: SubmitInput, sender: OutgoingAddress, seed: str | None) -> str:
    if given.message_id is None:
        domain = sender.address.rpartition("@")[2].strip("[]").removeprefix("IPv6:") or "localhost"
        return new_message_id(domain, seed)
    return given.message_id if given.message_id.startswith("<") else f"<{given.message_id}>"


async def _composed(given: SubmitInput, message: OutgoingMessage) -> bytes:
    contents = (given.text, given.html, *(one.content for one in given.attachments or ()))
    if sum(len(content) for content in contents if content) <= COMPOSE_HERE_CHARS:
        return _compose(given, message)
    return await asyncio.to_thread(_compose, given, message)


def _compose(given: SubmitInput, message: OutgoingMessage) -> bytes:
    attachments = tuple(_attachment(position, one) for position, one in enumerate(given.attachments or ()))
    return compose_message(replace(message, attachments=attachments))


def _attachment(position: int, given: AttachmentInput) -> OutgoingAttachment:
    guessed = mimetypes.guess_type(given.filename or "")[0] or "application/octet-stream"
    return OutgoingAttachment(
        filename=given.filename,
        content=decode_content(given.content, f"attachments.{position}.content"),
        content_type=given.content_type or guessed,
        disposition=given.content_disposition or ("inline" if given.cid else "attachment"),
        content_id=given.cid,
    )


def _submission(
    parts: Parts,
    account: Account,
    given: SubmitInput,
    composed: Composed,
    created: datetime,
    send_at: datetime,
    queue_id: str,
) -> Submission:
    message = composed.message
    return begin_submission(
        account,
        message_id=message.message_id,
        envelope=_envelope(given, message, _addresses(given.bcc)),
        size=len(composed.raw),
        created=created,
        send_at=send_at,
        attempts=given.delivery_attempts or parts.settings.current.delivery_attempts,
        queue_id=queue_id,
        bcc=compose_bcc(given),
        copy_sent=given.copy_,
        sent_mail_path=given.sent_mail_path,
        proxy=_proxy(parts, account, given),
        local_address=given.local_address,
        reference=ReferenceTask(message=given.reference.message, action=given.reference.action)
        if given.reference
        else None,
    )


def _proxy(parts: Parts, account: Account, given: SubmitInput) -> str | None:
    """The proxy of the message, sealed: it may hold a password."""
    if not given.proxy:
        return None
    if is_masked_url(given.proxy):
        raise BadInput(fields=[{"key": "proxy", "message": '"proxy" is masked, and there is none stored'}])
    return seal_asked_proxy(parts.secrets, account.record.account, given.proxy)


def _envelope(given: SubmitInput, message: OutgoingMessage, bcc: Iterable[OutgoingAddress]) -> Envelope:
    """MAIL FROM and RCPT TO: as given, else the sender and everybody, each once; domains in ASCII."""
    asked = given.envelope
    recipients = [one.address for one in (*message.to, *message.cc, *bcc)]
    if asked is not None and asked.to is not None:
        recipients = asked.to
    if not recipients:
        raise BadInput(fields=[{"key": "to", "message": '"to" is required: there is nobody to send to'}])
    sender = message.sender.address if asked is None or asked.from_ is None else asked.from_
    try:
        wire = tuple(dict.fromkeys(wire_address(address) for address in recipients))
        return Envelope(sender=wire_address(sender) if sender else "", recipients=wire)
    except ValueError as error:
        raise BadInput(fields=[{"key": "envelope", "message": f'"envelope" {error}'}]) from error


def _addresses(given: Iterable[AddressInput] | None) -> tuple[OutgoingAddress, ...]:
    return tuple(OutgoingAddress(one.name or "", one.address) for one in given or ())


def _reference_answer(given: SubmitInput, original: ReferenceInfo | None) -> ReferenceAnswer | None:
    if given.reference is None or original is None:
        return None
    return ReferenceAnswer(message=given.reference.message, success=True, thread_id=original.thread_id)
