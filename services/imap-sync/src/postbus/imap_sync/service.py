"""imap-sync: keeps IMAP accounts connected and their indexes current, and answers commands for them."""

from __future__ import annotations

from postbus.common.service import Parts, run_service
from postbus.common.verifying import serving_tests
from postbus.imap_sync.allocator import give_back_large_blocks
from postbus.imap_sync.tuning import Tuning
from postbus.imap_sync.verifying import LoginTester
from postbus.imap_sync.worker import Worker


async def serve(parts: Parts, tuning: Tuning | None = None) -> None:
    """Run accounts, and try logins for others, until cancelled."""
    give_back_large_blocks()
    async with serving_tests(parts, "imap", LoginTester(parts).attempt):
        await Worker(parts, tuning).serve()


def main() -> None:
    """Run the service."""
    run_service("imap-sync", serve)
