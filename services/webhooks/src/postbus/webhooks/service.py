"""The service: delivers events to HTTP receivers, in order per account."""

from __future__ import annotations

import asyncio

from postbus.common.service import Parts, run_service
from postbus.webhooks.delivery import Delivery, open_session
from postbus.webhooks.retries import RetrySchedule
from postbus.webhooks.targets import Targets
from postbus.webhooks.worker import Worker


async def serve(parts: Parts, *, schedule: RetrySchedule | None = None) -> None:
    """Work until cancelled, then finish what is in flight and give the shards up."""
    async with open_session(parts.config.webhook_timeout) as session:
        targets = Targets(parts.accounts, parts.settings)
        worker = Worker(parts, Delivery(session, targets, parts.stats), targets, schedule or RetrySchedule())
        working = asyncio.create_task(worker.run())
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            worker.stop()
            await working
            raise


def main() -> None:
    """Run the service until SIGTERM."""
    run_service("webhooks", serve)
