"""The mailboxes of the sandbox: pymap's in-memory backend, with special-use mailboxes (RFC 6154) from the start."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymap.backend.dict import Config as DictConfig
from pymap.backend.dict import DictBackend, Login
from pymap.backend.dict.filter import FilterSet
from pymap.backend.dict.mailbox import MailboxSet
from pymap.config import BackendCapability
from pymap.imap import IMAPServer
from pymap.listtree import ListEntry, ListTree
from pymap.parsing.message import AppendMessage
from pymap.user import Passwords, UserMetadata

from postbus.cli.sandbox.people import PEOPLE, Person

MAX_MESSAGE = 64 * 1024 * 1024  # bytes
SPECIAL_USE = {
    "Drafts": b"Drafts",
    "Sent": b"Sent",
    "Trash": b"Trash",
    "Junk": b"Junk",
    "Archive": b"Archive",
}


@dataclass(frozen=True)
class SpecialEntry(ListEntry):
    """A line of LIST that tells what the mailbox is for."""

    @property
    def attributes(self) -> Sequence[bytes]:
        """The attributes, special use among them."""
        use = SPECIAL_USE.get(self.name)
        return [*super().attributes, *([use] if use else [])]


class SpecialTree(ListTree):
    """What LIST walks through."""

    def list(self) -> Iterable[ListEntry]:
        """All lines."""
        for entry in super().list():
            yield SpecialEntry(entry.name, entry.exists, entry.marked, entry.has_children)


class SandboxMailboxes(MailboxSet):
    """The mailboxes of one person."""

    async def list_mailboxes(self) -> ListTree:
        """All of them."""
        plain = await super().list_mailboxes()
        names = [entry.name for entry in plain.list() if entry.exists]
        return SpecialTree(self.delimiter).update(*names)


class SandboxConfig(DictConfig):
    """What the server says it can do."""

    @property
    def backend_capability(self) -> BackendCapability:
        """IDLE and special use, beside what pymap adds by itself (UIDPLUS, MOVE, CHILDREN)."""
        return BackendCapability(idle=True, object_id=True, multi_append=True, custom=[b"SPECIAL-USE"])

    @property
    def greeting(self) -> bytes:
        """Said at connect; pymap's own would look up this machine's name first."""
        return b"Postbus sandbox"


class Mailboxes:
    """Everybody's mailboxes, and the IMAP server over them."""

    def __init__(self, config: SandboxConfig, login: Login, sets: Mapping[str, MailboxSet]) -> None:
        self._config = config
        self._login = login
        self._sets = sets

    @classmethod
    async def open(cls) -> Mailboxes:
        """Make them, empty."""
        config = SandboxConfig(
            _arguments(),
            host=None,
            port=0,
            tls_enabled=False,
            max_append_len=MAX_MESSAGE,
            demo_data=False,
            demo_user="",
            demo_password="",
        )
        config.apply_context()
        login = DictBackend(Login(config), config).login
        sets = {}
        for person in PEOPLE:
            password = await Passwords(config).hash_password(person.password)
            login.users_dict[person.address] = UserMetadata(config, person.address, password=password)
            mailboxes = sets[person.address] = SandboxMailboxes()
            for name in SPECIAL_USE:
                await mailboxes.add_mailbox(name)
            config.set_cache[person.address] = (mailboxes, FilterSet())
        return cls(config, login, sets)

    def imap_server(self) -> IMAPServer:
        """What handles an IMAP connection."""
        return IMAPServer(self._login, self._config)

    def person(self, address: str) -> Person | None:
        """Who has this address; case does not matter."""
        return next((person for person in PEOPLE if person.address == address.lower()), None)

    async def deliver(self, person: Person, message: bytes) -> None:
        """Put a message into somebody's INBOX."""
        inbox = await self._sets[person.address].get_mailbox("INBOX")
        await inbox.append(AppendMessage(message, datetime.now(UTC), frozenset()), recent=True)


def _arguments() -> Namespace:
    """What pymap expects of its own command line."""
    values: dict[str, Any] = {"passlib_cfg": None, "proxy_protocol": None, "debug": False}
    return Namespace(**values)
