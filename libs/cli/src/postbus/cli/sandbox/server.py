"""The process of the sandbox's mail server: IMAP and SMTP over the same mailboxes, until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import warnings

from proxyprotocol.sock import SocketInfo

from postbus.cli.sandbox.mailboxes import Mailboxes
from postbus.cli.sandbox.people import HOST, PEOPLE
from postbus.cli.sandbox.smtp import smtp_protocol
from postbus.cli.sandbox.structure import use_in_pymap
from postbus.cli.sandbox.welcome import compose_welcome
from postbus.common.config import Config

READ_LIMIT = 1024 * 1024  # bytes of one line


def run(_: Config, *, imap_port: int, smtp_port: int) -> None:
    """Be the mail server."""
    for noisy in ("mail.log", "pymap"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="aiosmtpd")  # it finds logging in without TLS daring; this is loopback
    use_in_pymap()
    asyncio.run(serve(imap_port, smtp_port))


async def serve(imap_port: int, smtp_port: int) -> None:
    """Listen until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    mailboxes = await Mailboxes.open()
    for person in PEOPLE:
        for message in compose_welcome(person):
            await mailboxes.deliver(person, message)
    imap = mailboxes.imap_server()

    async def on_imap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await imap(reader, writer, SocketInfo.get(writer, None))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left
        finally:
            writer.close()

    smtp_server = await loop.create_server(lambda: smtp_protocol(mailboxes), HOST, smtp_port)
    imap_server = await asyncio.start_server(on_imap, HOST, imap_port, limit=READ_LIMIT)
    async with smtp_server, imap_server:
        await stopped.wait()
        imap_server.close()
        smtp_server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
