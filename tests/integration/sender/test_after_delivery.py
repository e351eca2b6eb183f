"""What follows a delivery: who is told which Message-ID, whether there is a copy to file (contract, section 14)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from postbus.common.jobs import ReferenceTask
from tests.integration.sender.conftest import Bench

pytestmark = pytest.mark.anyio

OUTLOOK_ID = "<AM0PR01MB1@AM0PR01MB1.eurprd01.prod.outlook.com>"


class Outlook:
    """Takes everything and says which Message-ID it has now."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        return f"250 2.0.0 OK {OUTLOOK_ID} [Hostname=AM0PR01MB1]"


@asynccontextmanager
async def outlook() -> AsyncIterator[int]:
    """The port of such a server: no real one of ours gives such replies."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Outlook(), hostname="outlook.test", loop=loop), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_provider_that_replaces_the_message_id_is_noticed_and_both_are_told(bench: Bench) -> None:
    """The copy is looked for by our own Message-ID: it is what the bytes have (trap 56)."""
    async with outlook() as port:
        anna = await bench.account("anna-outlook", secret={}, port=port, user=None)
        await bench.start()
        sent = await bench.submit(anna, "bob@example.test")
        told = (await bench.event(sent, "messageSent")).data
        assert (told.message_id, told.original_message_id) == (OUTLOOK_ID, sent.message_id)
        await bench.idle()
    (filed,) = bench.filings
    assert filed.filing.message_id == sent.message_id


@pytest.mark.parametrize(
    ("message", "account", "filed"),
    [
        (None, None, [(True, False)]),
        (None, True, [(True, False)]),
        (None, False, []),
        (True, False, [(True, True)]),
        (False, True, []),
    ],
)
async def test_the_message_decides_about_its_copy_then_the_account(
    bench: Bench, message: bool | None, account: bool | None, filed: list[tuple[bool, bool]]
) -> None:
    """What the provider does is between the two, and the account's owner knows it (trap 57)."""
    anna = await bench.account("anna-copy")
    record = anna.record.model_copy(update={"copy_sent": account})
    assert await bench.parts.accounts.update(anna, record, {})
    await bench.start()
    sent = await bench.submit(anna, "bob-copy@example.test", copy_sent=message)
    await bench.event(sent, "messageSent")
    await bench.idle()
    assert [(one.filing.copy_sent, one.filing.copy_asked) for one in bench.filings] == filed


async def test_without_imap_there_is_nothing_to_file_into(bench: Bench) -> None:
    anna = await bench.account("anna-no-imap")
    assert anna.record.imap is not None
    imap = anna.record.imap.model_copy(update={"disabled": True})
    record = anna.record.model_copy(update={"imap": imap})
    assert await bench.parts.accounts.update(anna, record, {})
    await bench.start()
    task = ReferenceTask(message="AAAAAQAAAAE", action="reply")
    sent = await bench.submit(anna, "bob-no-imap@example.test", copy_sent=True, reference=task)
    await bench.event(sent, "messageSent")
    await bench.idle()
    assert bench.filings == []
