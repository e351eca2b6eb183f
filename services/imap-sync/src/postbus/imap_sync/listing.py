"""LIST, LSUB, XLIST, NAMESPACE and STATUS as this server understands them (RFC 9051, 6.3.9; RFC 5258; RFC 5819)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from postbus.common.errors import BadInput, CommandRefused, ProtocolError
from postbus.imap_sync.protocol import mailboxes
from postbus.imap_sync.protocol.arguments import Argument, astring
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.responses import parse_untagged, refusal
from postbus.imap_sync.protocol.utf7 import encode_utf7
from postbus.imap_sync.protocol.values import ListedMailbox, MailboxStatus
from postbus.imap_sync.wire import Limit, Wire

SUBSCRIBED = "\\subscribed"
MAX_MAILBOXES = 50_000  # of one account; more is no honest server
_WILDCARDS = frozenset("*%")
_NAMES_PER_LIST = 100  # mailboxes in one LIST with patterns
_MAX_LIST_CHARS = 4_000

_LISTING = Limit(2 * MAX_MAILBOXES + 10_000, 32 * 1024 * 1024)  # each with its status

Rows = dict[bytes, ListedMailbox]  # by the name as the server wrote it


class Names:
    """How the server writes the names of its mailboxes, where that is not modified UTF-7."""

    def __init__(self) -> None:
        self._odd: dict[str, bytes] = {}

    def learn(self, path: str, raw: bytes) -> None:
        """A name as the server wrote it."""
        if path == "INBOX":  # any server knows it by that name, whatever it is called in a list
            return
        try:
            odd = self._encoded(path) != raw
        except BadInput:  # the raw name holds control characters
            odd = True
        if odd:
            self._odd[path] = raw

    def argument(self, path: str) -> Argument:
        """The name for a command; BadInput for control characters."""
        return astring(self._odd.get(path) or encode_utf7(path))

    def alternative(self, path: str) -> bytes | None:
        """quirk_raw_utf8_names: the name as it might be written by a server that does not know modified UTF-7."""
        raw = path.encode("utf-8", "replace")
        return None if path in self._odd or raw == self._encoded(path) else raw

    @staticmethod
    def _encoded(path: str) -> bytes:
        return encode_utf7(path)


class Lister:
    """Lists mailboxes; remembers what this server refused."""

    def __init__(
        self,
        wire: Wire,
        has: Callable[[str], bool],
        names: Names,
        note_refusal: Callable[[str, CommandRefused], None],
        refused: Collection[str] = (),
    ) -> None:
        self._wire = wire
        self._has = has
        self._names = names
        self._note_refusal = note_refusal
        self._refused = set(refused)
        self._prefixes: list[bytes] | None = None
        self.complete = True  # whether the last listing left no row out

    async def list_mailboxes(self, *, with_status: bool) -> list[ListedMailbox]:
        """The user's mailboxes, each once, with `\\subscribed` where they are and with status where LIST gives it.

        What is no row is left out; `complete` says so then.
        """
        self.complete = True
        found: dict[str, ListedMailbox] = {}
        for prefix in await self._personal_prefixes():
            for row in await self._list(astring(prefix + b"*"), with_status=with_status):
                found.setdefault(row.path, row)
        if "INBOX" not in found:  # quirk_inbox_outside: not under the prefix of the namespace
            for row in await self._list('"INBOX"', with_status=with_status):
                found.setdefault(row.path, row)
        return list(found.values())

    async def personal_prefix(self) -> str:
        """What the paths of new mailboxes begin with: mostly nothing, `INBOX.` on servers like Courier (RFC 2342)."""
        if not self._has("NAMESPACE"):
            return await self._root()
        return mailboxes.name_of((await self._personal_prefixes())[0])

    async def _root(self) -> str:
        """quirk_no_namespace: what LIST of nothing says is the prefix of everything (RFC 9051, 6.3.9)."""
        rows: list[ListedMailbox] = []

        def on_response(pieces: Response) -> bool:
            untagged = parse_untagged(pieces[0])
            if untagged is None or untagged.label != "LIST":
                return False
            with suppress(ProtocolError):
                rows.append(mailboxes.parse_list(pieces, untagged.start)[0])
            return True

        with suppress(CommandRefused):
            await self._wire.run("LIST", '""', '""', on_response=on_response)
        root = rows[0].path if rows else ""
        delimiter = rows[0].delimiter if rows else None
        return root if not delimiter or root.endswith(delimiter) else root and root + delimiter

    async def status(self, path: str) -> MailboxStatus:
        """STATUS of one mailbox."""
        try:
            return await self._status(self._names.argument(path))
        except CommandRefused as error:
            other = self._names.alternative(path)
            if other is None or error.status != "NO":
                raise
            answer = await self._status(astring(other))
            self._names.learn(path, other)
            return answer

    async def statuses(self, paths: Sequence[str]) -> dict[str, MailboxStatus]:
        """STATUS of several, in as few commands as the server allows; what it refuses is absent."""
        found: dict[str, MailboxStatus] = {}
        single = [path for path in paths if not self._can_be_pattern(path)]
        for group in _groups([path for path in paths if self._can_be_pattern(path)]):
            try:
                found.update(await self._status_by_list(group))
            except CommandRefused as error:
                self._refuse("STATUS", error)
            single.extend(path for path in group if path not in found)
        for path in single:
            try:
                found[path] = await self.status(path)
            except CommandRefused:
                continue
        return {path: found[path] for path in paths if path in found}

    def _refuse(self, what: str, error: CommandRefused) -> None:
        """Not again on this connection; not on others either where the server does not understand it."""
        self._refused.add(what)
        self._note_refusal(what, error)

    def _status_items(self) -> str:
        items = "MESSAGES UIDNEXT UIDVALIDITY UNSEEN"
        if self._has("CONDSTORE"):
            items += " HIGHESTMODSEQ"
        if self._has("OBJECTID"):
            items += " MAILBOXID"
        return f"({items})"

    async def _status(self, name: Argument) -> MailboxStatus:
        answers: list[MailboxStatus] = []

        def on_response(pieces: Response) -> bool:
            untagged = parse_untagged(pieces[0])
            if untagged is None or untagged.label != "STATUS":
                return False
            answers.append(mailboxes.parse_status_data(pieces, untagged.start)[1])
            return True

        await self._wire.run("STATUS", name, self._status_items(), on_response=on_response)
        if not answers:
            raise ProtocolError("the server answered STATUS without a status")
        return answers[-1]

    def _can_be_pattern(self, path: str) -> bool:
        return self._has("LIST-STATUS") and "STATUS" not in self._refused and not _WILDCARDS & set(path)

    async def _status_by_list(self, paths: Sequence[str]) -> dict[str, MailboxStatus]:
        names = [self._names.argument(path) for path in paths]
        command: list[Argument] = ["LIST", '""', "(", *names, ")", f"RETURN (STATUS {self._status_items()})"]
        rows = await self._run_list(command, xlist=False)
        return {row.path: row.status for row in rows.values() if row.status is not None}

    async def _personal_prefixes(self) -> list[bytes]:
        if self._prefixes is None:
            self._prefixes = await self._ask_namespace() if self._has("NAMESPACE") else [b""]
        return self._prefixes

    async def _ask_namespace(self) -> list[bytes]:
        prefixes: list[bytes] = []

        def on_response(pieces: Response) -> bool:
            untagged = parse_untagged(pieces[0])
            if untagged is None or untagged.label != "NAMESPACE":
                return False
            with suppress(ProtocolError):
                prefixes.extend(mailboxes.parse_personal_namespaces(pieces, untagged.start))
            return True

        with suppress(CommandRefused):
            await self._wire.run("NAMESPACE", on_response=on_response)
        return sorted(set(prefixes)) or [b""]

    async def _list(self, pattern: Argument, *, with_status: bool) -> list[ListedMailbox]:
        """LIST with as many return options as the server takes; one group less after each refusal."""
        while True:
            options = self._return_options(with_status=with_status)
            xlist = self._has("XLIST") and not self._has("SPECIAL-USE") and "XLIST" not in self._refused
            verb = "XLIST" if xlist else "LIST"
            returning = f"RETURN ({' '.join(options.values())})" if options and not xlist else ""
            command = [verb, '""', pattern, *([returning] if returning else [])]
            try:
                rows = await self._run_list(command, xlist=xlist)
            except CommandRefused as error:
                last = "XLIST" if xlist else next(reversed(options), None)
                if error.status != "BAD" or last is None or refusal(error).busy:
                    raise
                self._refuse(last, error)
                continue
            asked = not xlist and "SUBSCRIBED" in options
            return list((rows if asked else await self._with_subscriptions(rows, pattern)).values())

    def _return_options(self, *, with_status: bool) -> dict[str, str]:
        """Group → return options; the last group is the first to go."""
        options: dict[str, str] = {}
        if self._has("LIST-EXTENDED"):
            options["SUBSCRIBED"] = "SUBSCRIBED CHILDREN"
        if self._has("SPECIAL-USE") and self._has("LIST-EXTENDED"):
            options["SPECIAL-USE"] = "SPECIAL-USE"
        if with_status and self._has("LIST-STATUS"):
            options["STATUS"] = f"STATUS {self._status_items()}"
        return {group: text for group, text in options.items() if group not in self._refused}

    async def _run_list(self, command: Sequence[Argument], *, xlist: bool) -> Rows:
        rows: Rows = {}
        statuses: dict[bytes, MailboxStatus] = {}

        def on_response(pieces: Response) -> bool:
            untagged = parse_untagged(pieces[0])
            if untagged is None:
                return False
            with suppress(ProtocolError):  # a malformed row is left out; the others count
                match untagged.label:
                    case "LIST" | "XLIST":
                        complete, self.complete = self.complete, False  # until it is understood
                        if len(rows) < MAX_MAILBOXES:
                            parse = mailboxes.parse_xlist if xlist else mailboxes.parse_list
                            row, raw = parse(pieces, untagged.start)
                            rows[raw] = row
                            self.complete = complete
                    case "STATUS":
                        raw, status = mailboxes.parse_status_data(pieces, untagged.start)
                        statuses[raw] = status
                    case _:
                        return False
            return True

        await self._wire.run(*command, on_response=on_response, limit=_LISTING)
        for raw, row in rows.items():
            self._names.learn(row.path, raw)
        return {raw: replace(row, status=statuses.get(raw)) for raw, row in rows.items()}

    async def _with_subscriptions(self, rows: Rows, pattern: Argument) -> Rows:
        """Add LSUB; quirk_no_subscriptions: a server that has none, or refuses, has everything subscribed."""
        subscribed: set[bytes] = set()

        def on_response(pieces: Response) -> bool:
            untagged = parse_untagged(pieces[0])
            if untagged is None or untagged.label not in ("LSUB", "LIST"):
                return False
            with suppress(ProtocolError):
                subscribed.add(mailboxes.parse_list(pieces, untagged.start)[1])
            return True

        if "LSUB" not in self._refused:
            try:
                await self._wire.run("LSUB", '""', pattern, on_response=on_response)
            except CommandRefused as error:
                self._refuse("LSUB", error)
        everything = not subscribed
        return {
            raw: replace(row, attributes=row.attributes | {SUBSCRIBED}) if everything or raw in subscribed else row
            for raw, row in rows.items()
        }


def _groups(paths: Sequence[str]) -> list[list[str]]:
    """Names for one LIST each, so that commands stay under 8 KB."""
    groups: list[list[str]] = []
    size = _MAX_LIST_CHARS
    for path in paths:
        length = 3 * len(path) + 3
        if size + length > _MAX_LIST_CHARS or len(groups[-1]) >= _NAMES_PER_LIST:
            groups.append([])
            size = 0
        groups[-1].append(path)
        size += length
    return groups
