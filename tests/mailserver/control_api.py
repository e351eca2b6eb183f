"""The control API: what a test asks a running instance for over HTTP."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from tests.mailserver.fault_proxy import ProxyThread
from tests.mailserver.greylisting import GreylistPolicy
from tests.mailserver.http_api import Reply, Request, Route
from tests.mailserver.messages import DEFAULT_SENDER, deliver_by_lmtp, sample_message
from tests.mailserver.recipients import ADDRESSES


class Controlled(Protocol):
    """The instance, as far as it can be controlled."""

    info: dict[str, Any]
    policy: GreylistPolicy

    @property
    def proxies(self) -> ProxyThread:
        """The fault proxies."""

    def doveadm(self, *arguments: str) -> tuple[int, str]:
        """Run doveadm: exit code and output."""

    def postfix_tool(self, tool: str, *arguments: str) -> tuple[int, str]:
        """Run a command of Postfix: exit code and output."""

    def service(self, name: str, action: str) -> None:
        """Stop, start or restart a server."""


def control_routes(system: Controlled) -> Mapping[str, Route]:
    """All paths but those of OAuth2."""
    return {
        "/status": lambda _: Reply(system.info),
        "/addresses": lambda _: Reply(ADDRESSES.encode()),
        "/deliver": lambda request: _deliver(system, request),
        "/kick": lambda request: _ran(system.doveadm("kick", request.query["user"])),
        "/who": lambda _: Reply({"lines": system.doveadm("who", "-1")[1].splitlines()[1:]}),
        "/queue": lambda _: _queue(system),
        "/queue/flush": lambda _: _ran(system.postfix_tool("postqueue", "-f")),
        "/queue/drop": lambda _: _ran(system.postfix_tool("postsuper", "-d", "ALL")),
        "/policy/reset": lambda _: _forget(system),
        "/policy/log": lambda _: Reply(system.policy.log()),
        "/service": lambda request: _service(system, request),
        "/proxy": lambda _: Reply({name: proxy.info() for name, proxy in system.proxies.proxies.items()}),
        "/proxy/": lambda request: _proxy(system.proxies, request),
    }


def _ran(result: tuple[int, str]) -> Reply:
    code, output = result
    return Reply({"rc": code, "out": output})


def _deliver(system: Controlled, request: Request) -> Reply:
    """POST /deliver?to=a@b[&to=..][&from=..][&n=1]: a raw message as the body, a sample if there is none."""
    to, count = request.lists["to"], int(request.query.get("n", "1"))
    messages = [request.body or sample_message(to[0], number) for number in range(count)]
    deliver_by_lmtp(system.info["lmtp"], to, messages, request.query.get("from", DEFAULT_SENDER))
    return Reply({"delivered": count * len(to)})


def _queue(system: Controlled) -> Reply:
    lines = system.postfix_tool("postqueue", "-j")[1].splitlines()
    return Reply([json.loads(line) for line in lines if line.startswith("{")])


def _forget(system: Controlled) -> Reply:
    system.policy.forget()
    return Reply({"ok": True})


def _service(system: Controlled, request: Request) -> Reply:
    """POST /service?name=dovecot|postfix&do=stop|start|restart."""
    system.service(request.query["name"], request.query["do"])
    return Reply({"ok": True})


def _proxy(proxies: ProxyThread, request: Request) -> Reply:
    """GET /proxy/NAME; POST /proxy/NAME {settings}; POST /proxy/NAME/drop; POST /proxy/NAME/clear."""
    _, _, name, *action = request.path.rstrip("/").split("/")
    proxy = proxies.proxies[name]
    done: dict[str, Any] = {}
    if request.method == "POST" and action == ["drop"]:
        done["dropped"] = proxies.call(proxy.drop_all)
    elif request.method == "POST" and action == ["clear"]:
        proxies.call(proxy.reset_settings)
    elif request.method == "POST":
        wanted = request.json
        if unknown := sorted(wanted.keys() - proxy.settings.keys()):
            return Reply({"error": "unknown setting", "names": unknown}, 400)
        proxies.call(lambda: proxy.settings.update(wanted))
    return Reply({**proxy.info(), **done})
