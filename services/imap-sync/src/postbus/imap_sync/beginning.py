"""From a greeted connection to one that is logged in, with the extensions that the sync needs."""

from __future__ import annotations

from contextlib import suppress

from postbus.common.credentials import Credentials
from postbus.common.errors import CommandRefused, ProtocolError
from postbus.common.version import __version__
from postbus.imap_sync.dial import Endpoint, ask_capabilities, capabilities_in
from postbus.imap_sync.login import log_in
from postbus.imap_sync.mailbox_state import MailboxState, refusals_of
from postbus.imap_sync.profiles import Facts, Profile, profile_of_host, recognise
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.responses import parse_untagged
from postbus.imap_sync.protocol.server_id import parse_id
from postbus.imap_sync.wire import Wire


async def begin_session(
    wire: Wire,
    state: MailboxState,
    capabilities: frozenset[str],
    endpoint: Endpoint,
    credentials: Credentials | None,
) -> None:
    """Name ourselves, log in, learn what the server is able to do then, and switch on what the sync needs."""
    profile = profile_of_host(endpoint.host)
    named = await _name_ourselves(wire, state, capabilities, profile)
    if credentials is not None and wire.greeting.status != "PREAUTH":
        state.capabilities = frozenset()
        status = await log_in(wire, credentials, capabilities, host=endpoint.host, port=endpoint.port)
        state.logged_in = True
        capabilities = capabilities_in(status) or state.capabilities or await ask_capabilities(wire)
    state.capabilities = capabilities
    wire.know(capabilities)
    if not named or len(state.server_id) == 1:  # quirk_short_id: before the login it says no more than its name
        await _name_ourselves(wire, state, capabilities, profile)
    state.profile = recognise(Facts(endpoint.host, wire.greeting.text, capabilities, state.server_id))
    wire.longest_wait_s = state.profile.longest_backoff_s
    state.refused = refusals_of(endpoint.host, endpoint.port, capabilities)
    if credentials is not None or wire.greeting.status == "PREAUTH":
        await _enable(wire, state)


async def _name_ourselves(wire: Wire, state: MailboxState, capabilities: frozenset[str], profile: Profile) -> bool:
    """ID (RFC 2971): 163.com and others refuse SELECT to who has not named himself. Whether it was said."""
    if "ID" not in capabilities and not profile.always_id:
        return False

    def on_response(pieces: Response) -> bool:
        untagged = parse_untagged(pieces[0])
        if untagged is None or untagged.label != "ID":
            return False
        with suppress(ProtocolError):
            state.server_id = parse_id(pieces, untagged.start)
        return True

    with suppress(CommandRefused):
        await wire.run(f'ID ("name" "Postbus" "version" "{__version__}" "vendor" "Postbus")', on_response=on_response)
    return True


async def _enable(wire: Wire, state: MailboxState) -> None:
    """QRESYNC and CONDSTORE (RFC 7162); never IMAP4rev2 or UTF8=ACCEPT. Without ENABLE, SELECT switches CONDSTORE on.

    quirk_poisoned: a server (like Exchange) may fail every command after one that it refused; it is not asked again.
    """
    offered = state.capabilities
    if "ENABLE" in offered and offered & {"QRESYNC", "CONDSTORE"} and "ENABLE" not in state.refused:
        # quirk_condstore_named (Apache James): QRESYNC alone does not switch CONDSTORE on
        wanted = "CONDSTORE QRESYNC" if "QRESYNC" in offered else "CONDSTORE"
        try:
            await wire.run(f"ENABLE {wanted}")
        except CommandRefused as error:
            state.enabled = frozenset()
            state.note_refusal("ENABLE", error)
    state.enabled &= {"QRESYNC", "CONDSTORE"}
    if ("CONDSTORE" in offered and "CONDSTORE" not in state.refused) or "QRESYNC" in state.enabled:
        state.enabled |= {"CONDSTORE"}
