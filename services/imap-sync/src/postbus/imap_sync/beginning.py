"""From a greeted connection to one that is logged in, with the extensions that the sync needs."""

from __future__ import annotations

from postbus.common.credentials import Credentials
from postbus.common.errors import CommandRefused
from postbus.common.version import __version__
from postbus.imap_sync.dial import Endpoint, ask_capabilities, capabilities_in
from postbus.imap_sync.login import log_in
from postbus.imap_sync.mailbox_state import MailboxState
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.wire import Wire


async def begin_session(
    wire: Wire,
    state: MailboxState,
    capabilities: frozenset[str],
    endpoint: Endpoint,
    credentials: Credentials | None,
) -> None:
    """Name ourselves, log in, learn what the server is able to do then, and switch on what the sync needs."""
    named = await _name_ourselves(wire, capabilities)
    if credentials is not None and wire.greeting.status != "PREAUTH":
        state.capabilities = frozenset()
        status = await log_in(wire, credentials, capabilities, host=endpoint.host, port=endpoint.port)
        capabilities = capabilities_in(status) or state.capabilities or await ask_capabilities(wire)
    state.capabilities = capabilities
    wire.know(capabilities)
    if not named:
        await _name_ourselves(wire, capabilities)
    if credentials is not None or wire.greeting.status == "PREAUTH":
        await _enable(wire, state)


async def _name_ourselves(wire: Wire, capabilities: frozenset[str]) -> bool:
    """ID (RFC 2971): 163.com and others refuse SELECT to who has not named himself. Whether it was said."""
    if "ID" not in capabilities:
        return False
    try:
        await wire.run(f'ID ("name" "Postbus" "version" "{__version__}" "vendor" "Postbus")', on_response=_is_id)
    except CommandRefused:
        return True
    return True


def _is_id(pieces: Response) -> bool:
    return pieces[0][2:5].upper() == b"ID "


async def _enable(wire: Wire, state: MailboxState) -> None:
    """QRESYNC and CONDSTORE (RFC 7162); never IMAP4rev2. Without ENABLE, SELECT switches CONDSTORE on."""
    offered = state.capabilities
    if "ENABLE" in offered and offered & {"QRESYNC", "CONDSTORE"}:
        # quirk_condstore_named (Apache James): QRESYNC alone does not switch CONDSTORE on
        wanted = "CONDSTORE QRESYNC" if "QRESYNC" in offered else "CONDSTORE"
        try:
            await wire.run(f"ENABLE {wanted}")
        except CommandRefused:
            state.enabled = frozenset()
    state.enabled &= {"QRESYNC", "CONDSTORE"}
    if "CONDSTORE" in offered or "QRESYNC" in state.enabled:
        state.enabled |= {"CONDSTORE"}
