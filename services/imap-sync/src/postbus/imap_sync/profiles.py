"""What providers do otherwise than the standard lets one expect, one profile each. Pure: facts in, a profile out.

A provider is known by the name of its host before anybody connects (`profile_of_host`), and better by what its server
says of itself afterwards: greeting, capabilities, answer to ID (`recognise`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Keepalive(StrEnum):
    """The command that keeps a connection open and tells what is new."""

    NOOP = "noop"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Profile:
    """How to treat the servers of one provider."""

    name: str = "generic"
    idle_s: float = 240.0  # after which IDLE is renewed: NAT and many providers drop what is silent for longer
    keepalive: Keepalive = Keepalive.NOOP
    poll_s: float = 20.0  # between looks at the main mailbox where the server has no IDLE
    always_id: bool = False  # send ID before SELECT though the server does not offer it
    connections: int = 8  # of one account, ours; Dovecot's own limit is 10 for a user and address
    host_connections: int = 256  # of all accounts of one worker, beside the main one of each
    logins: int = 8  # at the same time, of one worker
    partial_fetch: bool = True  # BODY[n]<offset.length> gives what it should, and at a fair price
    compress: bool = True  # COMPRESS=DEFLATE may be used
    longest_backoff_s: float = 30.0  # to wait in one go when it asks us to slow down


GENERIC: Final = Profile()

GMAIL: Final = Profile("gmail", connections=10)  # it allows 15 to an account, shared with its user's own programs
OUTLOOK: Final = Profile(
    "outlook",
    partial_fetch=False,  # Exchange renders the whole message anew for every part of it
    logins=4,
    longest_backoff_s=60.0,
)
YAHOO: Final = Profile("yahoo", idle_s=180.0, connections=5, logins=4)  # AOL's servers are the same
ICLOUD: Final = Profile("icloud", connections=6, logins=4)
RAMBLER: Final = Profile("rambler", idle_s=55.0)
NETEASE: Final = Profile(  # 163.com, 126.com, yeah.net
    "netease",
    idle_s=55.0,
    keepalive=Keepalive.STATUS,  # NOOP does not count as a sign of life
    always_id=True,  # "Unsafe Login" for a SELECT of who has not named himself
    connections=4,
    logins=4,
)
TENCENT: Final = Profile("tencent", partial_fetch=False, connections=5)  # Exmail gives the whole part for any range
STRATO: Final = Profile("strato")  # RZimapd: why IMAP4rev2 is never enabled, its ESEARCH answers mislead then
JAMES: Final = Profile("james", compress=False)
ZIMBRA: Final = Profile("zimbra")

_BY_DOMAIN: Final = {
    "gmail.com": GMAIL,
    "googlemail.com": GMAIL,
    "office365.com": OUTLOOK,
    "office365.us": OUTLOOK,
    "outlook.com": OUTLOOK,
    "partner.outlook.cn": OUTLOOK,
    "hotmail.com": OUTLOOK,
    "live.com": OUTLOOK,
    "yahoo.com": YAHOO,
    "yahoo.co.jp": YAHOO,
    "aol.com": YAHOO,
    "verizon.net": YAHOO,
    "mail.me.com": ICLOUD,
    "icloud.com": ICLOUD,
    "rambler.ru": RAMBLER,
    "163.com": NETEASE,
    "126.com": NETEASE,
    "yeah.net": NETEASE,
    "netease.com": NETEASE,
    "qq.com": TENCENT,
    "strato.de": STRATO,
    "strato.com": STRATO,
    "rzone.de": STRATO,
}
_BY_ID: Final = {  # what `name` or `vendor` of the answer to ID holds
    "gimap": GMAIL,
    "google": GMAIL,
    "microsoft": OUTLOOK,
    "yahoo": YAHOO,
    "aol": YAHOO,
    "rzimapd": STRATO,
    "strato": STRATO,
    "coremail": NETEASE,
    "netease": NETEASE,
    "tencent": TENCENT,
    "exmail": TENCENT,
    "apache james": JAMES,
    "zimbra": ZIMBRA,
}
_BY_GREETING: Final = (
    (re.compile(r"\bGimap\b", re.IGNORECASE), GMAIL),
    (re.compile(r"Microsoft Exchange", re.IGNORECASE), OUTLOOK),
    (re.compile(r"\b(?:Yahoo|AOL)\b", re.IGNORECASE), YAHOO),
    (re.compile(r"RZimapd", re.IGNORECASE), STRATO),
    (re.compile(r"Coremail .*\b(?:163|126|yeah)(?:com|net)\b", re.IGNORECASE), NETEASE),
    (re.compile(r"\bQQMail\b|\bExmail\b", re.IGNORECASE), TENCENT),
    (re.compile(r"\bJAMES\b"), JAMES),
    (re.compile(r"\bZimbra\b", re.IGNORECASE), ZIMBRA),
)
_BY_CAPABILITY: Final = {"X-GM-EXT-1": GMAIL, "XAPPLEPUSHSERVICE": ICLOUD, "XYMHIGHESTMODSEQ": YAHOO}
_LONGEST_GREETING: Final = 500  # characters that are looked at


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a server; `server_id` has the keys in lower case."""

    host: str = ""
    greeting: str = ""
    capabilities: frozenset[str] = frozenset()
    server_id: Mapping[str, str] = field(default_factory=dict)


def profile_of_host(host: str) -> Profile:
    """The profile of the provider whose domain the host is in; the longest domain counts."""
    labels = host.lower().rstrip(".").split(".")
    for start in range(len(labels)):
        if found := _BY_DOMAIN.get(".".join(labels[start:])):
            return found
    return GENERIC


def recognise(facts: Facts) -> Profile:
    """The profile of a server. What it says in its ID counts most, then its greeting, its host, its capabilities."""
    return (
        _of_id(facts.server_id) or _of_greeting(facts.greeting) or _of_host(facts.host) or _of_offer(facts.capabilities)
    ) or GENERIC


def _of_host(host: str) -> Profile | None:
    found = profile_of_host(host)
    return None if found is GENERIC else found


def _of_id(server_id: Mapping[str, str]) -> Profile | None:
    said = f"{server_id.get('name', '')} {server_id.get('vendor', '')}".lower()
    return next((profile for word, profile in _BY_ID.items() if word in said), None)


def _of_greeting(greeting: str) -> Profile | None:
    text = greeting[:_LONGEST_GREETING]
    return next((profile for pattern, profile in _BY_GREETING if pattern.search(text)), None)


def _of_offer(capabilities: frozenset[str]) -> Profile | None:
    return next((profile for name, profile in _BY_CAPABILITY.items() if name in capabilities), None)
