"""One whole Postbus for the end-to-end tests of a process, with its webhooks going to a receiver per test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.e2e.running import RunningPostbus
from tests.servers import WebhookSink


@pytest.fixture(scope="session")
def postbus() -> Iterator[RunningPostbus]:
    """Runs until the end of the session: take account ids of your own."""
    with RunningPostbus() as running:
        yield running


@pytest.fixture
async def hooks(postbus: RunningPostbus) -> AsyncIterator[WebhookSink]:
    """A receiver of everything that happens during the test."""
    async with WebhookSink() as sink:
        postbus.set(webhooks=sink.url)
        yield sink
        postbus.set(webhooks="")
