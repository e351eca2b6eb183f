"""Postfix policy service (SMTPD_POLICY_README): greylisting for the addresses that ask for it."""

import re
import socketserver
import time
from collections.abc import Mapping
from typing import Any

MAX_LISTED = 1000

_GREY_AT_MX = re.compile(r"greylist(?!-rcpt)|retry")


class GreylistPolicy:
    """Remembers when a sender first wrote to a recipient, and lets him wait `wait_s` from then on."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._seen: dict[tuple[str, str, str], float] = {}
        self._log: list[dict[str, Any]] = []

    def decide(self, attributes: Mapping[str, str]) -> str:
        """The action for one request of Postfix."""
        recipient, where = attributes.get("recipient", "").lower(), attributes.get("policy_context", "")
        local = recipient.partition("@")[0]
        grey = local.startswith("greylist-rcpt") if where == "submission" else _GREY_AT_MX.match(local)
        sender = attributes.get("sender", "")
        action = self._grey((where, sender, recipient)) if grey else "DUNNO"
        asked = {"where": where, "recipient": recipient, "sender": sender}
        self._log.append({"at": time.time(), **asked, "action": action})
        return action

    def forget(self) -> None:
        """Take everybody for a stranger again."""
        self._seen.clear()

    def log(self) -> list[dict[str, Any]]:
        """The last decisions."""
        return self._log[-MAX_LISTED:]

    def _grey(self, triplet: tuple[str, str, str]) -> str:
        waited = time.monotonic() - self._seen.setdefault(triplet, time.monotonic())
        return "DUNNO" if waited >= self._wait_s else "450 4.7.1 Greylisted, try again later"


class PolicyServer(socketserver.ThreadingTCPServer):
    """Listens for Postfix."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], policy: GreylistPolicy) -> None:
        self.policy = policy
        super().__init__(address, _PolicyHandler)


class _PolicyHandler(socketserver.StreamRequestHandler):
    server: PolicyServer

    def handle(self) -> None:
        attributes: dict[str, str] = {}
        for raw in self.rfile:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            if line:
                name, _, value = line.partition("=")
                attributes[name] = value
                continue
            self.wfile.write(f"action={self.server.policy.decide(attributes)}\n\n".encode())
            attributes = {}
