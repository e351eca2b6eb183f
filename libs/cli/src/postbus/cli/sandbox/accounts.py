"""Registers the people of the sandbox as accounts, through the API as anybody would."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any

from postbus.cli.sandbox.people import HOST, PEOPLE, Person, Ports
from postbus.cli.supervisor.front import authorization, base_url, reachable_host
from postbus.common.config import Config
from postbus.common.errors import Unavailable

TIMEOUT_S = 10.0
START_TIMEOUT_S = 20.0  # of the mail server
POLL_S = 0.05
MAX_ANSWER = 1024 * 1024  # bytes


def account_of(person: Person, ports: Ports) -> dict[str, Any]:
    """The body of `POST /v1/account` for one of them."""
    login = {"user": person.address, "pass": person.password}
    return {
        "account": person.account,
        "name": person.name,
        "email": person.address,
        "imap": {"host": HOST, "port": ports.imap, "secure": False, "auth": login},
        "smtp": {"host": HOST, "port": ports.smtp, "secure": False, "auth": login},
    }


async def register(config: Config, ports: Ports) -> None:
    """Create the accounts, or bring those of an earlier start up to date; Unavailable when the API refuses."""
    for person in PEOPLE:
        await asyncio.to_thread(_post_account, config, account_of(person, ports))


def compose_hint(config: Config, ports: Ports) -> str:
    """The lines that tell how to try."""
    alice, bob = PEOPLE
    url = base_url(config)
    curl = "curl -u USER:PASSWORD" if config.auth else "curl"
    rows = "".join(f"  {person.account:14} {person.address}\n" for person in PEOPLE)
    letter = json.dumps({"to": [{"address": alice.address}], "subject": "Hello", "text": "How are you?"})
    return (
        "Sandbox: a mail server on loopback with two accounts; its mail is gone when Postbus stops\n"
        f"{rows}"
        f"  IMAP {HOST}:{ports.imap}, SMTP {HOST}:{ports.smtp}, no TLS, password `{alice.password}`\n"
        "Try:\n"
        f"  {curl} '{url}/v1/account/{alice.account}/messages?path=INBOX'\n"
        f"  {curl} -H 'Content-Type: application/json' {url}/v1/account/{bob.account}/submit \\\n"
        f"    -d '{letter}'\n"
    )


async def wait_for_server(ports: Ports) -> None:
    """Return once the mail server listens; Unavailable when it does not."""
    for port in (ports.imap, ports.smtp):
        await _wait_for(port)


async def _wait_for(port: int) -> None:
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while not await _listens(port):  # noqa: ASYNC110 - a port has no event
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise Unavailable("the mail server of the sandbox did not start") from error


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


def _post_account(config: Config, body: dict[str, Any]) -> None:
    connection = http.client.HTTPConnection(reachable_host(config.host), config.port, timeout=TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/json", **authorization(config)}
        connection.request("POST", "/v1/account", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read(MAX_ANSWER).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"the sandbox account {body['account']} could not be registered: {error}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise Unavailable(f"the sandbox account {body['account']} could not be registered: {text[:500]}")
