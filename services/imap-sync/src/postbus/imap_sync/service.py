"""imap-sync: keeps IMAP accounts connected and their indexes current, and answers commands for them."""

from __future__ import annotations

from postbus.common.service import Parts, run_service
from postbus.imap_sync.tuning import Tuning
from postbus.imap_sync.worker import Worker


async def serve(parts: Parts, tuning: Tuning | None = None) -> None:
    """Run accounts until cancelled."""
    await Worker(parts, tuning).serve()


def main() -> None:
    """Run the service."""
    run_service("imap-sync", serve)
