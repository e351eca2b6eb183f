"""Passes over mailboxes in the log of their account."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from postbus.common.errors import PostbusError
from postbus.imap_sync.state.live import LiveAccount


@contextmanager
def noted_pass(live: LiveAccount, path: str, *, full: bool) -> Iterator[None]:
    """One pass: how long it took, and what ended it early."""
    if live.log is None or not live.log.on:
        yield
        return
    started = time.monotonic()
    code: str | None = None
    try:
        yield
    except PostbusError as error:
        code = error.code
        raise
    finally:
        ms = int((time.monotonic() - started) * 1000)
        row = live.mailbox(path)
        messages = row.messages if row else None
        live.log.add("sync", event="mailbox", path=path, full=full, messages=messages, ms=ms, failed=code)
