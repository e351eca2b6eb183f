"""Jobs as payloads: a line of JSON, and the message behind it where it is small."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.bus.queue import chunk_count
from postbus.common.jobs import (
    MAX_INLINE_BYTES,
    RAW_CHUNK_BYTES,
    Envelope,
    Filing,
    ReferenceTask,
    Submission,
    pack_job,
    unpack_filing,
    unpack_submission,
)

NOW = datetime(2026, 11, 25, 5, 9, 23, 123_000, UTC)
SUBMISSION = Submission(
    queue_id="19aabbccdd0aabbccdd",
    account="line\nbreak",
    message_id="<1@example.com>",
    envelope=Envelope(sender="", recipients=("a@example.com", "ü@example.com")),
    created=NOW,
    send_at=NOW,
    deadline=NOW,
    size=3,
    bcc="hidden@example.com,\r\n second@example.com",
    reference=ReferenceTask(message="AAAAAQAAAeE", action="reply"),
)
FILING = Filing(queue_id="19aabbccdd0aabbccdd", account="a", message_id="<1@example.com>", created=NOW, size=3)


@given(st.binary(max_size=200))
def test_a_submission_reads_back_with_its_message(raw: bytes) -> None:
    assert unpack_submission(pack_job(SUBMISSION, raw)) == (SUBMISSION, raw)


@given(st.binary(max_size=200))
def test_a_filing_reads_back_with_its_message(raw: bytes) -> None:
    assert unpack_filing(pack_job(FILING, raw)) == (FILING, raw)


def test_a_job_of_a_newer_version_is_understood() -> None:
    payload = pack_job(SUBMISSION, b"x").replace(b'{"', b'{"notKnownYet":[1],"', 1)
    assert unpack_submission(payload) == (SUBMISSION, b"x")


@given(st.binary())
def test_what_is_no_job_is_a_value_error(payload: bytes) -> None:
    for unpack in (unpack_submission, unpack_filing):
        with pytest.raises(ValueError):
            unpack(payload)


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (0, 0),
        (MAX_INLINE_BYTES, 0),
        (MAX_INLINE_BYTES + 1, 1),
        (RAW_CHUNK_BYTES, 1),
        (RAW_CHUNK_BYTES + 1, 2),
        (50 * 1024**2, 100),
    ],
)
def test_a_message_rides_along_or_lies_in_pieces(size: int, count: int) -> None:
    assert chunk_count(size) == count
