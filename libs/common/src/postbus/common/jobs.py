"""Jobs on the bus: a submission on its way to an MTA, and the filing of its copy afterwards.

A job is one line of JSON, then, where they fit, the bytes of the message; larger messages lie in the RAW stream.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from postbus.common.times import Instant

MAX_INLINE_BYTES = 64 * 1024
RAW_CHUNK_BYTES = 512 * 1024


class Job(BaseModel):
    """Base of all jobs: frozen, tolerant of fields a newer version wrote."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Envelope(Job):
    """MAIL FROM (empty for none) and RCPT TO."""

    sender: str
    recipients: tuple[str, ...]


class ReferenceTask(Job):
    """The message a submission answers or forwards: it gets a flag once the submission is delivered."""

    message: str
    action: Literal["reply", "forward"]


class Submission(Job):
    """A message that was accepted: everything that delivering it needs but the bytes.

    `raw_chunks` is the number of pieces in RAW, 0 where the bytes ride in the job; `size` is their length in all.
    They lie under `raw_name`: a submission that may have been begun before, by somebody who is perhaps still writing,
    has a `raw_id` of its own, so that the bytes of two are never mixed.
    `account_born_as` tells the account from a later one of the same id (`Account.born_as`). `proxy` is sealed
    (`postbus.common.network`) and goes before that of the account; `local_address` counts where it may be used.
    `attempts_limit` None means that only the deadline counts. `bcc` is the Bcc header of the stored copy, folded and
    without its name; the message that travels has none.
    """

    queue_id: str
    account: str
    account_born_as: str | None = None
    message_id: str
    envelope: Envelope
    created: Instant
    send_at: Instant
    deadline: Instant
    attempt: int = 1
    attempts_limit: int | None = None
    size: int
    raw_chunks: int = 0
    raw_id: str = ""
    bcc: str | None = None
    copy_sent: bool | None = None
    sent_mail_path: str | None = None
    proxy: str | None = None
    local_address: str | None = None
    reference: ReferenceTask | None = None

    @property
    def raw_name(self) -> str:
        """Where its bytes lie in RAW."""
        return self.raw_id or self.queue_id


class Filing(Job):
    """What is left to do after delivery: a copy to the Sent mailbox, a flag on the message that was answered.

    `copy_asked`: the message itself asked for its copy, so there is one also where providers make their own.
    """

    queue_id: str
    account: str
    account_born_as: str | None = None
    message_id: str
    created: Instant
    size: int
    raw_chunks: int = 0
    raw_id: str = ""
    bcc: str | None = None
    copy_sent: bool = True
    copy_asked: bool = False
    sent_mail_path: str | None = None
    reference: ReferenceTask | None = None

    @property
    def raw_name(self) -> str:
        """Where its bytes lie in RAW."""
        return self.raw_id or self.queue_id


def pack_job(job: Job, raw: bytes = b"") -> bytes:
    """The job as a payload; `raw` is the message, where it rides along."""
    return job.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n" + raw


def unpack_submission(payload: bytes) -> tuple[Submission, bytes]:
    """Read a `send` job; ValueError when it is none."""
    head, _, raw = payload.partition(b"\n")
    return Submission.model_validate_json(head), raw


def unpack_filing(payload: bytes) -> tuple[Filing, bytes]:
    """Read a `file` job; ValueError when it is none."""
    head, _, raw = payload.partition(b"\n")
    return Filing.model_validate_json(head), raw


def send_subject(token: str, queue_id: str) -> str:
    """Where a submission that is due lies."""
    return f"ee.job.send.{token}.{queue_id}"


def file_subject(token: str, queue_id: str) -> str:
    """Where a filing lies."""
    return f"ee.job.file.{token}.{queue_id}"


def schedule_subject(queue_id: str) -> str:
    """Where a submission waits for its time; the server moves it to `send_subject` then."""
    return f"ee.sch.{queue_id}"


def raw_subject(raw_name: str, chunk: int | Literal["*"]) -> str:
    """Where a piece of the message lies, counted from 0."""
    return f"ee.raw.{raw_name}.{chunk}"
