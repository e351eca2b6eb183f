"""UID SEARCH as this server understands it (RFC 9051, 6.4.4; RFC 4731): an answer to rely on, or an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from postbus.common.errors import CommandRefused, ProtocolError
from postbus.imap_sync.protocol.arguments import Argument, search_criteria
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.ranges import merge
from postbus.imap_sync.protocol.responses import parse_untagged
from postbus.imap_sync.protocol.searches import parse_esearch, parse_search
from postbus.imap_sync.protocol.values import UidRange
from postbus.imap_sync.wire import Wire

Criteria = Sequence[str | bytes]


@dataclass(slots=True)
class Finder:
    """Searches the selected mailbox; `exists` tells how many messages it has."""

    wire: Wire
    has: Callable[[str], bool]
    exists: Callable[[], int]

    async def find(self, criteria: Criteria) -> list[UidRange]:
        """Sorted, merged ranges. CommandRefused; ProtocolError where the answer contradicts EXISTS.

        quirk_silent_search (iCloud): OK without any line is an empty answer only when it comes twice.
        """
        found = await self._ask(criteria, extended=self.has("ESEARCH"))
        if found is None or (not found and list(criteria) == ["ALL"] and self.exists()):
            found = await self._ask(criteria, extended=False) or []
            if not found and list(criteria) == ["ALL"] and self.exists():
                raise ProtocolError("the server finds none of the messages it has")
        return list(merge(found))

    async def _ask(self, criteria: Criteria, *, extended: bool) -> list[UidRange] | None:
        """What one SEARCH finds; None where the server said nothing that can be understood."""
        returning = ["RETURN (ALL)"] if extended else []
        arguments = [*returning, *search_criteria(criteria)]
        try:
            return await self._run(arguments)
        except CommandRefused as error:
            if not self.exists() and "UID" in criteria:  # quirk_empty_mailbox: any set is refused where nothing is
                return []
            if error.server_code != "BADCHARSET":
                raise
            # quirk_no_charset: refused by its name, and often understood all the same
            return await self._run([*returning, *search_criteria(criteria, charset=False)])

    async def _run(self, arguments: Sequence[Argument]) -> list[UidRange] | None:
        found: list[UidRange] = []
        told = False

        def on_response(pieces: Response) -> bool:
            nonlocal told
            untagged = parse_untagged(pieces[0])
            if untagged is None or untagged.label not in ("SEARCH", "ESEARCH"):
                return False
            data = b"".join(pieces)[untagged.start :]
            part = parse_search(data) if untagged.label == "SEARCH" else parse_esearch(data)
            told = told or part is not None
            found.extend(part or ())
            return True

        await self.wire.run("UID SEARCH", *arguments, on_response=on_response)
        return found if told else None
