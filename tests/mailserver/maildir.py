"""Messages straight into a Maildir++ of Dovecot, for mailboxes too large to deliver to."""

import os
import time
from collections.abc import Iterable
from pathlib import Path


def seed_maildir(
    mail: Path,
    user: str,
    mailbox: str,
    messages: Iterable[bytes],
    *,
    flags: str,
    first: int,
    owner: tuple[int, int],
) -> None:
    """Write messages, numbered from `first`, into `mailbox` (`INBOX`, or its name with dots between the levels)."""
    box = _mailbox_directory(mail, user, mailbox, owner)
    now = int(time.time())
    for number, raw in enumerate(messages, first):
        on_wire = len(raw) + raw.count(b"\n") - raw.count(b"\r\n")  # W=: size with CRLF, which Dovecot need not count
        name = f"{now}.M{number:07d}P{os.getpid()}.seed,S={len(raw)},W={on_wire}"
        draft = box / "tmp" / name
        draft.write_bytes(raw)
        if os.geteuid() == 0:
            os.chown(draft, *owner)
        draft.rename(box / "cur" / f"{name}:2,{flags}")


def _mailbox_directory(mail: Path, user: str, mailbox: str, owner: tuple[int, int]) -> Path:
    local, _, domain = user.lower().partition("@")
    home = mail / domain / local
    box = home / "Maildir" if mailbox.upper() == "INBOX" else home / "Maildir" / f".{mailbox}"
    for directory in (mail / domain, home, home / "Maildir", box, box / "cur", box / "new", box / "tmp"):
        if not directory.is_dir():
            directory.mkdir(0o700)
            if os.geteuid() == 0:
                os.chown(directory, *owner)
    return box
