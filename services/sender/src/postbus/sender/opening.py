"""Opening an SMTP connection: connect, EHLO, STARTTLS where offered (RFC 3207), and one login (RFC 4954)."""

from __future__ import annotations

import socket

import aiosmtplib

from postbus.common.credentials import Credentials
from postbus.common.tunnel import open_tunnel
from postbus.sender.dial import dial
from postbus.sender.faults import failures
from postbus.sender.outcome import CLOSING, DeliveryFailed, Failure
from postbus.sender.session import Server, Session, Timeouts


async def open_session(server: Server, credentials: Credentials | None, timeouts: Timeouts) -> Session:
    """Connect, upgrade where offered, log in. DeliveryFailed with what went wrong."""
    with failures("CONN"):
        connected = await _connect(server, timeouts.connect_s)
    client = aiosmtplib.SMTP(
        hostname=server.host,  # for the certificate
        sock=connected,
        use_tls=server.secure,
        start_tls=False,  # by ourselves: failures have to be told apart
        tls_context=server.tls,
        local_hostname=server.ehlo_name,
        timeout=timeouts.connect_s,
    )
    try:
        with failures("CONN"):
            await client.connect()
        with failures("EHLO"):
            await _greet(client)
        if not server.secure and client.supports_extension("starttls"):
            with failures("STARTTLS"):
                await client.starttls(timeout=timeouts.connect_s)
            with failures("EHLO"):
                await _greet(client)
        if credentials is not None:
            await _log_in(client, credentials)
    except BaseException:
        client.close()
        raise
    return Session(timeouts, client)


async def _connect(server: Server, limit_s: float) -> socket.socket:
    if server.proxy is not None:
        return await open_tunnel(server.proxy, server.host, server.port, limit_s=limit_s)
    return await dial(server.host, server.port, local_address=server.local_address, limit_s=limit_s)


async def _greet(client: aiosmtplib.SMTP) -> None:
    """EHLO; HELO for servers of the last century."""
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if not client.is_connected or error.code == CLOSING:
            raise
        await client.helo()


async def _log_in(client: aiosmtplib.SMTP, credentials: Credentials) -> None:
    """One mechanism, one try: a series of them would count as several wrong passwords."""
    offered = set(client.server_auth_methods)
    if not offered:
        return  # the server tells by itself whether it wants a login
    with failures("AUTH", code="EAUTH"):
        if credentials.access_token is not None and "xoauth2" in offered:
            await client.auth_xoauth2(credentials.user, credentials.access_token)
        elif credentials.password is not None and "plain" in offered:
            await client.auth_plain(credentials.user, credentials.password)
        elif credentials.password is not None and "login" in offered:
            await client.auth_login(credentials.user, credentials.password)
        elif credentials.password is not None and "cram-md5" in offered:
            await client.auth_crammd5(credentials.user, credentials.password)
        else:
            error = f"The server offers no login that fits: {', '.join(sorted(offered))}"
            raise DeliveryFailed(Failure(error=error, code="EAUTH", command="AUTH"))
