"""Which processes there are, in which order they start, and in which order they are drained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NATS, VALKEY, MAIL = "nats", "valkey", "sandbox-mail"


@dataclass(frozen=True, slots=True)
class Service:
    """One of the five: its name on the command line and on the bus, and the module with its `serve`."""

    name: str
    module: str


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a service; `key` tells it from its like: `imap-sync-2`."""

    key: str
    service: Service


SERVICES = (  # in the order they start: what takes longest to load first; what comes in early waits on the bus
    Service("api", "postbus.api.service"),
    Service("imap-sync", "postbus.imap_sync.service"),
    Service("sender", "postbus.sender.service"),
    Service("webhooks", "postbus.webhooks.service"),
    Service("auth", "postbus.auth.service"),
)
FIRST = frozenset({"api", "imap-sync"})  # what answers needs these; the others follow, and find their work on the bus
DRAIN_ORDER = (("api",), ("imap-sync",), ("sender", "webhooks"), ("auth",), (MAIL,), (NATS,), (VALKEY,))


def plan_processes(services: Sequence[Service], workers_imap: int) -> Iterator[Process]:
    """One process a service, `workers_imap` of imap-sync."""
    for service in services:
        if service.name == "imap-sync" and workers_imap > 1:
            yield from (Process(f"{service.name}-{number}", service) for number in range(1, workers_imap + 1))
        else:
            yield Process(service.name, service)


def shared_modules(services: Sequence[Service], workers_imap: int) -> list[str]:
    """The code that several processes run: worth loading once, before they are forked."""
    modules = Counter(process.service.module for process in plan_processes(services, workers_imap))
    return [module for module, count in modules.items() if count > 1]


def group_of(key: str) -> str:
    """What a process counts as while draining: `imap-sync-2` is one of `imap-sync`."""
    name, _, number = key.rpartition("-")
    return name if number.isdigit() else key
