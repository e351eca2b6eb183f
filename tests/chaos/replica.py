"""Somebody who only reads events and keeps a copy of the mailboxes of an account; and the view of the server itself."""

import re
from dataclasses import dataclass, field
from imaplib import IMAP4
from typing import Any

Flags = frozenset[str]
View = dict[str, dict[int, Flags]]

_LISTED = re.compile(rb'\((?P<attributes>[^)]*)\) (?:"[^"]*"|NIL) (?P<name>.+)')


@dataclass
class Replica:
    """Mailbox → uid → flags, as the events tell.

    Mail that is not new is never announced, so a mailbox that was reset, or that came with its mail (renamed), is
    `open`: what it holds in silence has to be read once. What is told of it has to be true all the same.
    """

    mailboxes: View = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    announced: set[str] = field(default_factory=set)  # Message-IDs, of `messageNew`

    def apply(self, event: Any) -> None:
        """Take the next event. AssertionError where it contradicts what was told before."""
        match event.event:
            case "mailboxNew" | "mailboxReset":
                self.mailboxes[event.path] = {}
                self.open.add(event.path)
            case "mailboxDeleted":
                self.mailboxes.pop(event.path, None)
                self.open.discard(event.path)
            case "messageNew" | "messageUpdated" | "messageDeleted":
                self._message(event.event, event.path, event.data)
            case "messageMissing":
                raise AssertionError(f"missing: {event.path} {event.data.uid}")

    def _message(self, kind: str, path: str, data: Any) -> None:
        assert path in self.mailboxes, f"{kind} of {path}, which nobody told of"
        messages, known = self.mailboxes[path], data.uid in self.mailboxes[path]
        match kind:
            case "messageNew":
                assert not known, f"{path} {data.uid} was announced twice"
                moved = data.message_id in self.announced
                assert not (moved and data.seems_like_new), f"{path} {data.uid} moved here and seems new"
                messages[data.uid] = _kept(data.flags)
                self.announced.add(data.message_id)
            case "messageUpdated":
                assert known or path in self.open, f"{path} {data.uid} changed and was never announced"
                assert not known or messages[data.uid] != _kept(data.changes.flags.value), f"{path} {data.uid}: same"
                messages[data.uid] = _kept(data.changes.flags.value)
            case _:
                assert known or path in self.open, f"{path} {data.uid} is gone and was never announced"
                messages.pop(data.uid, None)

    def silent(self, view: View) -> View:
        """What the server has in open mailboxes and nobody told of."""
        return {
            path: {uid: flags for uid, flags in view[path].items() if uid not in self.mailboxes[path]}
            for path in sorted(self.open & view.keys() & self.mailboxes.keys())
        }

    def learn(self, silent: View) -> None:
        """Read the mailboxes that are open, once."""
        for path, messages in silent.items():
            self.mailboxes[path] |= messages
        self.open.clear()


def server_view(client: IMAP4) -> View:
    """All mailboxes as IMAP tells, by raw names."""
    return {name: _messages(client, name) for name in listed(client)}


def listed(client: IMAP4) -> list[str]:
    """Names of the mailboxes that can be selected."""
    rows = [_LISTED.fullmatch(row) for row in client.list()[1] if isinstance(row, bytes)]
    return [row["name"].strip(b'"').decode() for row in rows if row and b"noselect" not in row["attributes"].lower()]


def message_ids(client: IMAP4, name: str, uids: list[int]) -> dict[int, str]:
    """The Message-IDs of these messages."""
    if not uids:
        return {}
    client.select(f'"{name}"', readonly=True)
    query = "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"
    found = client.uid("FETCH", ",".join(map(str, uids)), query)[1]
    rows = [row for row in found if isinstance(row, tuple)]
    return {_uid(row[0]): row[1].split(b":", 1)[1].strip().decode() for row in rows}


def _messages(client: IMAP4, name: str) -> dict[int, Flags]:
    client.select(f'"{name}"', readonly=True)
    rows = [row for row in client.uid("FETCH", "1:*", "(FLAGS)")[1] if isinstance(row, bytes)]
    return {_uid(row): _kept(row.split(b"FLAGS (")[1].split(b")")[0].decode().split()) for row in rows}


def _uid(row: bytes) -> int:
    found = re.search(rb"UID (\d+)", row)
    assert found is not None
    return int(found[1])


def _kept(flags: Any) -> Flags:
    return frozenset(flags) - {"\\Recent"}
