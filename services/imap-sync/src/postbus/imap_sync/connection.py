"""One connection to an IMAP server, as typed commands (RFC 9051, RFC 3501 and the extensions named below)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from postbus.common.credentials import Credentials
from postbus.common.errors import (
    AuthenticationFailed,
    BadInput,
    CommandRefused,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    PostbusError,
    ProtocolError,
    TooLarge,
)
from postbus.imap_sync import arranging, changing
from postbus.imap_sync.beginning import begin_session
from postbus.imap_sync.dial import Endpoint, dial
from postbus.imap_sync.fetching import Answering, compose_modifiers, fetch_flags, fetch_rows, stream_section
from postbus.imap_sync.finding import Finder
from postbus.imap_sync.glance import glance
from postbus.imap_sync.idling import Idler
from postbus.imap_sync.listing import Lister, Names
from postbus.imap_sync.mailbox_state import MailboxState
from postbus.imap_sync.profiles import Keepalive, Profile
from postbus.imap_sync.protocol.arguments import Argument, astring, text
from postbus.imap_sync.protocol.dates import compose_internal_date
from postbus.imap_sync.protocol.flags import compose_flags, storable
from postbus.imap_sync.protocol.ranges import compose_set, merge, split, subtract
from postbus.imap_sync.protocol.responses import parse_append_uid, refusal
from postbus.imap_sync.protocol.values import (
    Appended,
    Copied,
    Fetched,
    KnownState,
    ListedMailbox,
    MailboxStatus,
    Quota,
    Selected,
    UidRange,
    Vanished,
)
from postbus.imap_sync.quotas import fetch_quota
from postbus.imap_sync.selecting import SelectAnswer, compose_parameters
from postbus.imap_sync.trace import ConnectionTrace
from postbus.imap_sync.wire import FLAGS, LONG_S, SELECTING, Wire

__all__ = ["Endpoint", "ImapConnection", "open_connection"]

OnEvent = Callable[[str], None]

APPEND_S: Final = 120.0  # from the last byte to the answer
LOGOUT_S: Final = 5.0
PIECE: Final = 256 * 1024  # bytes of a download that are asked for at a time
DEAR_PIECE: Final = 4 * 1024 * 1024  # bytes; a download holds two of them at most

DELETED: Final = "\\Deleted"

_NO_MAILBOX: Final = ("TRYCREATE", "NONEXISTENT")  # RFC 9051, 7.1


class DroppedAtOnce(ConnectFailed):
    """The server let us in and closed the connection."""


async def open_connection(
    endpoint: Endpoint,
    credentials: Credentials | None,
    *,
    on_event: OnEvent | None = None,
    deadline_s: float = 30.0,
    trace: ConnectionTrace | None = None,
) -> ImapConnection:
    """Connect, secure, log in and enable what the sync needs. `on_event` hears the label of every push that matters.

    `trace` is told of every command.

    AuthenticationFailed with the server's text, and in `details["alert"]` what it wants people to read; ConnectFailed
    (`ETIMEDOUT`, `ECONNREFUSED`, `ENOTFOUND`, `ETLS`, ...), DroppedAtOnce being one of them, also when
    the server says "later" (`details["backoff_s"]` if it says when); ProtocolError.
    """
    state = MailboxState(on_event)
    try:
        async with asyncio.timeout(deadline_s):
            wire, capabilities = await dial(endpoint, state.on_untagged, limit_s=deadline_s)
            if trace is not None:
                wire.follow(trace)
                trace.opened(endpoint.host, endpoint.port, secure=endpoint.secure, greeting=wire.greeting)
            try:
                await begin_session(wire, state, capabilities, endpoint, credentials)
                return ImapConnection(wire, state)
            except BaseException:
                wire.abort()
                raise
    except (TimeoutError, DeadlineExceeded) as error:
        raise ConnectFailed(f"{endpoint.host} did not answer in time", code="ETIMEDOUT") from error
    except ConnectionLost as error:
        code = "ECONNRESET" if error.code == ConnectionLost.code else error.code
        kind = DroppedAtOnce if state.logged_in else ConnectFailed
        raise kind(error.message, code=code) from error
    except AuthenticationFailed as error:
        if state.alert and state.alert != error.message:
            error.details["alert"] = state.alert
        raise
    except CommandRefused as error:
        raise ConnectFailed(error.message, code=error.server_code or error.status) from error


class ImapConnection:
    """Typed commands; one in flight, callers queue.

    All raise CommandRefused for NO and BAD, ConnectionLost as soon as the connection is gone, DeadlineExceeded (the
    connection is closed then), ProtocolError, and BadInput for what can't be said. Who iterates over `fetch` or
    `stream_section` must not wait for another command of the same connection inside of `fetch`.
    """

    def __init__(self, wire: Wire, state: MailboxState) -> None:
        self._wire = wire
        self._state = state
        self._names = Names()
        self._lister = Lister(wire, self.has, self._names, state.note_refusal, state.refused)
        self._finder = Finder(wire, self.has, lambda: self.exists)
        self._idler = Idler(wire, state, self.keep_alive)
        self._looked: tuple[Selected, MailboxStatus] | None = None

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server offers, upper case."""
        return self._state.capabilities

    @property
    def enabled(self) -> frozenset[str]:
        """QRESYNC, CONDSTORE: what is switched on."""
        return self._state.enabled

    @property
    def selected(self) -> Selected | None:
        """The mailbox that is selected now, as it was when it was selected."""
        return self._state.selected

    @property
    def profile(self) -> Profile:
        """What is known of the provider's habits."""
        return self._state.profile

    @property
    def server_id(self) -> Mapping[str, str]:
        """What the server said of itself (RFC 2971), keys in lower case; empty where it did not."""
        return self._state.server_id

    @property
    def exists(self) -> int:
        """Messages in the selected mailbox, as far as the server told."""
        return self._state.exists

    @property
    def closed(self) -> bool:
        """Whether it is of no use any more."""
        return self._wire.closed

    def has(self, capability: str) -> bool:
        """Whether the server offers it, by its name in upper case. QRESYNC includes CONDSTORE (RFC 7162, 3.2)."""
        offered = self._state.capabilities
        return capability in offered or (capability == "CONDSTORE" and "QRESYNC" in offered)

    async def list_mailboxes(self, *, with_status: bool) -> list[ListedMailbox]:
        """All mailboxes of the user; attribute `\\subscribed` on those that are.

        In one round trip where the server has LIST-STATUS; elsewhere `status` of a mailbox may be None.
        """
        return await self._lister.list_mailboxes(with_status=with_status)

    @property
    def listing_complete(self) -> bool:
        """Whether the last `list_mailboxes` understood every row: what it does not have may be there all the same."""
        return self._lister.complete

    async def status(self, path: str) -> MailboxStatus:
        """STATUS; CommandRefused when there is no such mailbox."""
        return await self._lister.status(path)

    async def statuses(self, paths: Sequence[str]) -> dict[str, MailboxStatus]:
        """STATUS of several; those that the server refuses are absent."""
        return await self._lister.statuses(paths)

    async def quota(self, path: str = "INBOX") -> Quota | None:
        """The limit of what a mailbox belongs to, the first of them; None where there is none or QUOTA is not known."""
        if not self.has("QUOTA"):
            return None
        return await fetch_quota(self._wire, self._names.argument(path))

    async def personal_prefix(self) -> str:
        """What the paths of the user's mailboxes begin with, empty on most servers."""
        return await self._lister.personal_prefix()

    async def create_mailbox(self, path: str) -> str | None:
        """CREATE; returns the mailbox's id where the server gives one. CommandRefused `ALREADYEXISTS` (RFC 5530)."""
        return await arranging.create(self._wire, self._names, path)

    async def rename_mailbox(self, path: str, new_path: str) -> None:
        """RENAME, with all that is below; a mailbox that this concerns is no longer selected."""
        await self._leave(path)
        await arranging.rename(self._wire, self._names, path, new_path)

    async def delete_mailbox(self, path: str) -> None:
        """DELETE, with its messages; a mailbox that this concerns is no longer selected."""
        await self._leave(path)
        await arranging.delete(self._wire, self._names, path)

    async def subscribe(self, path: str, *, subscribed: bool = True) -> None:
        """SUBSCRIBE or UNSUBSCRIBE."""
        await arranging.subscribe(self._wire, self._names, path, subscribed=subscribed)

    async def _leave(self, path: str) -> None:
        if self.selected and self.selected.path.startswith(path):
            await self.unselect()

    async def select(self, path: str, *, known: KnownState | None = None, read_only: bool = False) -> Selected:
        """SELECT or EXAMINE; with QRESYNC enabled, `known` brings what vanished and changed since."""
        try:
            return await self._select(path, self._names.argument(path), known, read_only=read_only)
        except CommandRefused as error:
            other = self._names.alternative(path)
            if other is None or error.status != "NO":
                raise
            selected = await self._select(path, astring(other), known, read_only=read_only)
            self._names.learn(path, other)
            return selected

    async def _select(self, path: str, name: Argument, known: KnownState | None, *, read_only: bool) -> Selected:
        parameters = compose_parameters(self.enabled, known)
        answer = SelectAnswer(path, resyncs="QRESYNC" in parameters)
        self._state.enter(None)
        verb = "EXAMINE" if read_only else "SELECT"
        arguments = [verb, name, *([parameters] if parameters else [])]
        try:
            status = await self._wire.run(
                *arguments, on_response=answer.on_response, limit=FLAGS if answer.resyncs else SELECTING
            )
        except CommandRefused as error:
            if error.status != "BAD" or not parameters or refusal(error).busy:
                raise
            self._state.enabled = frozenset()  # quirk_select_parameters: offered, but not understood
            self._state.note_refusal("CONDSTORE", error)
            answer = SelectAnswer(path)
            status = await self._wire.run(verb, name, on_response=answer.on_response)
        selected = answer.selected(status, read_only=read_only)
        self._state.enter(selected)
        return selected

    async def unselect(self) -> None:
        """Leave the mailbox without expunging (RFC 3691); elsewhere CLOSE after EXAMINE, which can't expunge."""
        selected = self.selected
        if selected is None:
            return
        if not self.has("UNSELECT") and not selected.read_only:
            await self.select(selected.path, read_only=True)
        await self._wire.run("UNSELECT" if self.has("UNSELECT") else "CLOSE")
        self._state.enter(None)

    def fetch(
        self,
        ranges: Sequence[UidRange] | None,
        items: Sequence[str],
        *,
        by_seq: str | None = None,
        changed_since: int | None = None,
        vanished: bool = False,
    ) -> AsyncGenerator[Fetched | Vanished, None]:
        """UID FETCH, or FETCH of the sequence set `by_seq`: rows as they arrive, each with its uid.

        The server waits while the consumer is busy. Rows that were not asked for are news, not answers.
        """
        if by_seq is not None:
            sets: list[tuple[str, tuple[UidRange, ...] | None]] = [(text("FETCH", by_seq), None)]
            items = items if "UID" in items else ("UID", *items)
        else:
            merged = merge(ranges or ())
            sets = [(text("UID FETCH", compose_set(group)), merged) for group in split(merged)]
        modifiers = compose_modifiers(changed_since, vanished=vanished and "QRESYNC" in self.enabled)
        return fetch_rows(self._wire, sets, items, modifiers=modifiers, answer=self._answering())

    async def fetch_flags_compact(
        self, ranges: Sequence[UidRange], *, changed_since: int | None = None
    ) -> list[tuple[int, tuple[str, ...]]]:
        """Uids and flags, the fast way; equal flags are one shared tuple. In the server's order, each uid once."""
        modifiers = compose_modifiers(changed_since, vanished=False)
        found = await fetch_flags(self._wire, merge(ranges), modifiers=modifiers, answer=self._answering())
        return list(found.items())

    async def glance(self, window: str) -> dict[int, tuple[str, ...]]:
        """Flags by uid of a window of sequence numbers (`81:100`); too few or too many where it was not that simple."""
        return await glance(self._wire, window)

    async def search(self, criteria: Sequence[str | bytes]) -> list[UidRange]:
        """UID SEARCH: str are keys, bytes are values (`["FROM", b"Jan", "UNSEEN"]`). Sorted, merged ranges."""
        return await self._finder.find(criteria)

    async def store_flags(
        self, ranges: Sequence[UidRange], *, add: Sequence[str] = (), remove: Sequence[str] = (), silent: bool = True
    ) -> None:
        """UID STORE +FLAGS and -FLAGS of those flags that the mailbox keeps; messages that are gone are no error."""
        suffix = ".SILENT" if silent else ""
        for sign, flags in (("+", self.storable(add)), ("-", self.storable(remove))):
            if flags:
                await changing.store(self._wire, ranges, f"{sign}FLAGS{suffix}", [compose_flags(flags)])

    async def replace_flags(self, ranges: Sequence[UidRange], flags: Sequence[str]) -> None:
        """UID STORE FLAGS: these and no others. A set of which the mailbox keeps nothing changes nothing."""
        kept = self.storable(flags)
        if kept or not flags:
            await changing.store(self._wire, ranges, "FLAGS.SILENT", [compose_flags(kept)])

    def storable(self, flags: Sequence[str]) -> tuple[str, ...]:
        """Those flags that the selected mailbox keeps; `\\Recent` is the server's own (RFC 3501, 2.3.2)."""
        permanent = self.selected.permanent_flags if self.selected else None
        return tuple(flag for flag in storable(flags, permanent) if flag.lower() != "\\recent")

    async def store_labels(
        self, ranges: Sequence[UidRange], sign: Literal["+", "-", ""], labels: Sequence[str]
    ) -> None:
        """UID STORE of labels of Gmail: add, take away, or (without a sign) these and no others."""
        await changing.store(self._wire, ranges, f"{sign}X-GM-LABELS.SILENT", changing.compose_labels(labels))

    async def copy(self, ranges: Sequence[UidRange], path: str) -> Copied:
        """UID COPY; CommandRefused with TRYCREATE, OVERQUOTA, and then nothing was copied."""
        return await self._transfer("UID COPY", ranges, path)

    async def move(self, ranges: Sequence[UidRange], path: str) -> Copied:
        """UID MOVE (RFC 6851), else COPY and expunge. What was not copied stays where it is.

        Without UIDPLUS messages that others flagged as deleted may stand in the way of the expunge: then those that
        were copied stay, flagged as deleted.
        """
        if self.has("MOVE"):
            return await self._transfer("UID MOVE", ranges, path)
        self._check_deletable()
        validity, uids = None, dict[int, int]()
        for group in split(merge(ranges)):
            copied = await self.copy(group, path)
            validity = copied.uid_validity or validity
            uids.update(copied.uids)
            await self.expunge_uids(group)
        return Copied(validity, uids)

    async def expunge_uids(self, ranges: Sequence[UidRange]) -> bool:
        """Flag as deleted and expunge these messages and no others; whether they are gone.

        Without UIDPLUS there is only EXPUNGE of all that is flagged: it is not sent while others are (RFC 4315, 2.1).
        """
        self._check_deletable()
        await self.store_flags(ranges, add=(DELETED,))
        if self.has("UIDPLUS"):
            await changing.expunge_uids(self._wire, ranges)
            return True
        if subtract(await self.search(("DELETED",)), merge(ranges)):
            return False
        await self._wire.run("EXPUNGE", total_s=LONG_S)
        return True

    def _check_deletable(self) -> None:
        if not self.storable((DELETED,)) or (self.selected and self.selected.read_only):
            raise CommandRefused("Messages of this mailbox can not be deleted", server_code="NOPERM")

    async def _transfer(self, verb: str, ranges: Sequence[UidRange], path: str) -> Copied:
        try:
            return await changing.transfer(self._wire, verb, ranges, self._names.argument(path))
        except CommandRefused as error:
            other = self._names.alternative(path)
            if other is None or error.server_code not in _NO_MAILBOX:
                raise
            copied = await changing.transfer(self._wire, verb, ranges, astring(other))
            self._names.learn(path, other)
            return copied

    async def append(
        self, path: str, message: bytes, *, flags: Sequence[str] = (), internal_date: datetime | None = None
    ) -> Appended:
        """APPEND one message. TooLarge by the server's APPENDLIMIT; CommandRefused with OVERQUOTA, TRYCREATE."""
        if b"\0" in message:
            raise BadInput("the message has NUL bytes")
        self._check_append_limit(len(message))
        if not message:
            raise BadInput("the message is empty")
        arguments: list[Argument] = ["APPEND", self._names.argument(path)]
        if flags:
            arguments.append(compose_flags(flags))
        if internal_date is not None:
            arguments.append(f'"{compose_internal_date(internal_date)}"')
        status = await self._wire.run(*arguments, message, timeout_s=APPEND_S, total_s=LONG_S)
        return parse_append_uid(status)

    def _check_append_limit(self, size: int) -> None:
        for capability in self.capabilities:
            name, _, limit = capability.partition("=")
            if name == "APPENDLIMIT" and limit.isdigit() and size > int(limit[:19]):
                raise TooLarge(f"the server takes messages of up to {limit} bytes")

    def stream_section(self, uid: int, section: str, *, chunk_size: int = PIECE) -> AsyncGenerator[bytes, None]:
        """A section (`` is the whole message) in pieces, the connection free in between; NotFound when it is gone.

        The pieces are larger where the provider makes the whole message anew for each of them.
        """
        chunk_size = chunk_size if self.profile.partial_fetch else max(chunk_size, DEAR_PIECE)
        return stream_section(self._wire, uid, section, chunk_size=chunk_size, answer=self._answering())

    async def compress(self) -> bool:
        """COMPRESS=DEFLATE, where it saves something: whether it is on. Not for connections that idle: 96 KB for each.

        What is in our own network is faster without: packing takes the server 1 s for 25 MB, and saves a quarter.
        """
        offered = self.has("COMPRESS=DEFLATE") and "COMPRESS" not in self._state.refused
        if not offered or not self.profile.compress or self._wire.is_near:
            return False
        try:
            await self._wire.compress()
        except CommandRefused as error:
            self._state.note_refusal("COMPRESS", error)
            return False
        except (ConnectionLost, ProtocolError):  # it does not bear it: the next connection goes without
            self._state.refused.add("COMPRESS")
            raise
        return True

    async def idle(self, *, max_s: float) -> None:
        """Return when something is new in the selected mailbox, or after `max_s` (28 minutes at most).

        Returns at once when there was a push since the last call or SELECT, and when another caller wants its turn.
        Without IDLE, or where the server refuses it, a look now and then does.
        """
        await self._idler.wait(max_s)

    async def interrupt(self) -> None:
        """End an `idle` that another task waits in: any command ends an IDLE, also one that is just being sent."""
        self._idler.interrupt()
        await self.noop()

    async def keep_alive(self) -> None:
        """Hear what is new in the selected mailbox, by the command that the provider takes for a sign of life."""
        selected = self.selected
        if selected is None or self.profile.keepalive is Keepalive.NOOP:
            await self.noop()
            return
        status = await self.status(selected.path)  # quirk_deaf_noop (163.com)
        before = self._looked[1] if self._looked and self._looked[0] is selected else None
        self._looked = (selected, status)
        if status != before if before else status.messages not in (None, self.exists):
            self._state.note("STATUS")

    async def noop(self) -> None:
        """NOOP: hear what is new in the selected mailbox."""
        await self._wire.run("NOOP")

    async def logout(self) -> None:
        """LOGOUT and close; never raises for a server that is gone or slow."""
        self._wire.longest_wait_s = 0.0
        try:
            if not self.closed:
                await self._wire.run("LOGOUT", timeout_s=LOGOUT_S)
        except PostbusError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._wire.abort()

    def _answering(self) -> Answering:
        return Answering(self._on_stray, self._count)

    def _count(self) -> int | None:
        return self.exists if self.selected is not None else None

    def _on_stray(self, row: Fetched) -> None:
        self._state.note("FETCH")
