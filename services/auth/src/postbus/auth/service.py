"""The service: makes sure that an account has credentials, whoever keeps them."""

from __future__ import annotations

import asyncio

from postbus.auth.auth_server import open_client
from postbus.auth.handlers import Handlers
from postbus.common.bus import rpc
from postbus.common.service import Parts, run_service

SUBJECT = "ee.rpc.auth"
QUEUE = "auth"


async def serve(parts: Parts) -> None:
    """Answer until cancelled; one of several replicas takes each command."""
    async with open_client() as client:
        handlers = Handlers(parts, client)
        subscription = await rpc.serve(parts.bus, SUBJECT, {"ensure": handlers.on_ensure}, queue=QUEUE)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            if parts.bus.connected:
                await subscription.unsubscribe()


def main() -> None:
    """Run the service until SIGTERM."""
    run_service("auth", serve)
