"""What became of an attempt to deliver, and what that means: the table of RFC 5321 codes and of our own failures.

Only the server's reply decides between later and never (RFC 5321, 4.2.1); words of a client library never do.
"""

from __future__ import annotations

import re
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from postbus.common.times import Instant

BAD_SEQUENCE = 503  # says that the conversation went wrong, not that the message is unwanted
CLOSING = 421

# Failures without a reply that no later attempt can cure. The names are those that API users know.
_FINAL_CODES = frozenset({"EAUTH", "ENOAUTH", "EOAUTH2", "ETLS", "EENVELOPE", "EMESSAGE", "EPROTOCOL"})

_OUTLOOK_ID = re.compile(r"<[^<>\s@]{1,200}@[^<>\s@]{1,200}\.prod\.outlook\.com>")
_SES_HOST = re.compile(r"email-smtp\.([a-z0-9-]{1,40})\.amazonaws\.com")
_SES_REPLY = re.compile(r"250 Ok ([0-9a-f-]{20,100})", re.IGNORECASE)


class Verdict(StrEnum):
    """What to do with the recipients of a failure."""

    RETRY = "retry"
    GIVE_UP = "giveUp"
    UNCERTAIN = "uncertain"


class Fact(BaseModel):
    """Base of what is kept in the store about an attempt."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Failure(Fact):
    """One failure: for people, `error`; for programs, `code`; and the server's reply where there was one.

    `uncertain` means that the end of the message went out and no reply came back.
    """

    error: str
    code: str
    command: str | None = None
    reply: str | None = None
    reply_code: int | None = None
    uncertain: bool = False


class Refusal(Fact):
    """A recipient the server did not take."""

    recipient: str
    reply_code: int
    reply: str


class Route(Fact):
    """Which way a delivery went, where somebody configured ways."""

    local_address: str | None = None
    proxy: str | None = None
    name: str | None = None
    requested_local_address: str | None = None


class Accepted(Fact):
    """A message the server took: its words, for whom, whom it did not take, and its new Message-ID if it gave one."""

    reply: str
    recipients: tuple[str, ...]
    refused: tuple[Refusal, ...] = ()
    message_id: str | None = None


class Outcome(Fact):
    """How an attempt ended, as decided once: carrying it out a second time publishes the same again.

    `retry` are the recipients of the next attempt, which starts at `next_attempt`.
    """

    at: Instant
    accepted: Accepted | None = None
    failure: Failure | None = None
    retry: tuple[str, ...] = ()
    next_attempt: Instant | None = None
    route: Route | None = None


class DeliveryFailed(Exception):
    """An attempt that reached nobody. `refused` tells recipients apart where the server did."""

    def __init__(self, failure: Failure, refused: tuple[Refusal, ...] = ()) -> None:
        super().__init__(failure.error)
        self.failure = failure
        self.refused = refused


def judge(failure: Failure) -> Verdict:
    """Later, never, or nobody knows."""
    if failure.uncertain:
        return Verdict.UNCERTAIN
    if failure.reply_code is not None:
        return Verdict.GIVE_UP if is_permanent(failure.reply_code) else Verdict.RETRY
    return Verdict.GIVE_UP if failure.code in _FINAL_CODES else Verdict.RETRY


def rewritten_message_id(host: str, reply: str) -> str | None:
    """The Message-ID a provider puts in place of ours, as far as its reply tells: Outlook and Amazon SES do."""
    if outlook := _OUTLOOK_ID.search(reply):
        return outlook[0]
    region, ses = _SES_HOST.fullmatch(host.lower()), _SES_REPLY.fullmatch(reply)
    if region is None or ses is None:
        return None
    domain = "email" if region[1] == "us-east-1" else region[1]
    return f"<{ses[1]}@{domain}.amazonses.com>"


def is_permanent(reply_code: int) -> bool:
    """5xx, but 503; everything else, also what is no SMTP code at all, may be different next time."""
    return 500 <= reply_code <= 599 and reply_code != BAD_SEQUENCE


def refusal_failure(refused: tuple[Refusal, ...]) -> Failure:
    """Refused recipients as one failure; one that may be taken later speaks for all."""
    shown = next((one for one in refused if not is_permanent(one.reply_code)), refused[0])
    return Failure(
        error=f"Recipient refused: {shown.reply_code} {shown.reply}",
        code="EENVELOPE",
        command="RCPT TO",
        reply=f"{shown.reply_code} {shown.reply}",
        reply_code=shown.reply_code,
    )


def recipients_to_retry(recipients: tuple[str, ...], failure: Failure, refused: tuple[Refusal, ...]) -> tuple[str, ...]:
    """Who gets another attempt after a failure that reached nobody."""
    if judge(failure) is not Verdict.RETRY:
        return ()
    never = {one.recipient for one in refused if is_permanent(one.reply_code)}
    return tuple(recipient for recipient in recipients if recipient not in never)


def deferred_recipients(accepted: Accepted) -> tuple[str, ...]:
    """Who gets another attempt although others have the message: refused for now only."""
    return tuple(one.recipient for one in accepted.refused if not is_permanent(one.reply_code))
