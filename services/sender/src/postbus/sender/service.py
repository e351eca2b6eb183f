"""The sender: pulls submissions and filings from the bus and works on many at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from postbus.common.bus.streams import FILE_CONSUMER, SEND_CONSUMER
from postbus.common.service import Parts, run_service
from postbus.common.verifying import serving_tests
from postbus.sender.delivery import Deliverer
from postbus.sender.filing import FIRST_GAP, FileHandler
from postbus.sender.lanes import LaneLimits
from postbus.sender.phases import GONE_AFTER_S
from postbus.sender.queue import AGAIN_S, JobQueue
from postbus.sender.retry import RetryPolicy
from postbus.sender.sending import SendHandler
from postbus.sender.session import Timeouts
from postbus.sender.submission.limits import SubmissionLimits
from postbus.sender.submission.server import SubmissionServer
from postbus.sender.verifying import LoginTester

FILING_LIMITS = LaneLimits(parallel=2, waiting=32, total=256)


@dataclass(frozen=True, slots=True)
class Tuning:
    """What nobody configures; the defaults are what the product runs with."""

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    timeouts: Timeouts = field(default_factory=Timeouts)
    lanes: LaneLimits = field(default_factory=LaneLimits)
    gone_after_s: float = GONE_AFTER_S
    first_filing_gap: timedelta = FIRST_GAP
    again_s: float = AGAIN_S
    submission: SubmissionLimits = field(default_factory=SubmissionLimits)


async def serve(parts: Parts, tuning: Tuning | None = None) -> None:
    """Deliver and file, take messages by SMTP, and try logins for others, until cancelled."""
    tuning = tuning or Tuning()
    deliverer = Deliverer(parts, tuning.timeouts)
    sender = SendHandler(parts, deliverer, tuning.policy, tuning.gone_after_s)
    filer = FileHandler(parts, tuning.first_filing_gap)
    async with serving_tests(parts, "smtp", LoginTester(deliverer).attempt), asyncio.TaskGroup() as tasks:
        tasks.create_task(JobQueue(parts.bus, SEND_CONSUMER, sender.handle, tuning.lanes, tuning.again_s).run())
        tasks.create_task(JobQueue(parts.bus, FILE_CONSUMER, filer.handle, FILING_LIMITS).run())
        tasks.create_task(deliverer.pool.sweep())
        tasks.create_task(SubmissionServer(parts, tuning.submission).run())


def main() -> None:
    """Run the service."""
    run_service("sender", serve)
