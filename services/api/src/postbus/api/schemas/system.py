"""Statistics, health and settings as clients read them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model

from postbus.api.schemas.fields import Given, Input, Output
from postbus.common.service_settings import SECRET_SETTINGS, SETTING_NAMES, ServiceSettings

MAX_STATS_SECONDS = 604_800


class NoQuery(Input):
    """A request without a query."""


class StatsQuery(Input):
    """Which time to look at."""

    seconds: int = Field(3600, ge=0, le=MAX_STATS_SECONDS, description="How far the counters look back")


class Connections(Output):
    """How many accounts there are in each state."""

    init: Given[int] = Field(None, description="Registered, not yet connecting")
    connected: Given[int] = Field(None, description="In sync", examples=[24])
    connecting: Given[int] = Field(None, description="On their way")
    syncing: Given[int] = Field(None, description="In their first pass over all mailboxes")
    authentication_error: Given[int] = Field(None, description="Their login is refused")
    connect_error: Given[int] = Field(None, description="Their server can't be reached")
    unset: Given[int] = Field(None, description="Without an IMAP side in use")
    disconnected: Given[int] = Field(None, description="Just lost their connection")
    paused: Given[int] = Field(None, description="Held for a moment")


class Stats(Output):
    """What this installation is and does."""

    version: str = Field(description="Version of this service")
    license: str = Field(description="License it is used under")
    accounts: int = Field(description="How many accounts there are", examples=[26])
    node: str = Field(description="Version of the runtime", examples=["Python 3.11.2"])
    redis: str = Field(description="Version of the store", examples=["9.1.0"])
    redis_software: str = Field(description="Which store it is", examples=["valkey"])
    redis_cluster: bool = Field(description="The store is a cluster")
    redis_ping: float = Field(description="Milliseconds to the store and back")
    arch: str = Field(description="Processor architecture", examples=["x86_64"])
    connections: Connections = Field(description="Accounts by state; a state without accounts is left out")
    counters: dict[str, int] = Field(
        description="Counters over the time asked for", examples=[{"events:messageNew": 30, "apiCall:success": 11}]
    )


class Health(Output):
    """This service can work."""

    success: bool = Field(True, description="All parts are there")
    warnings: list[str] = Field([], description="What works, but should be looked at")


class Unhealthy(Output):
    """This service can't work."""

    status_code: int = Field(500, description="The HTTP status")
    error: str = Field("Internal Server Error", description="The name of the HTTP status")
    message: str = Field(description="What happened, for people")
    reasons: list[str] = Field(description="What is missing")
    warnings: list[str] = Field([], description="What works, but should be looked at")


class SettingsUpdated(Output):
    """Which settings were written."""

    updated: list[str] = Field(description="Their names", examples=[["webhooks", "webhookEvents"]])


def _asked(name: str) -> tuple[Any, Any]:
    description = ServiceSettings.model_fields[SETTING_NAMES[name]].description
    return bool, Field(False, alias=name, description=f"Tell `{name}`: {description}")


def _answer(name: str) -> tuple[Any, Any]:
    field = ServiceSettings.model_fields[SETTING_NAMES[name]]
    if name in SECRET_SETTINGS:
        return bool | None, Field(None, alias=name, description=f"Whether it is set: {field.description}")
    return field.annotation, Field(None, alias=name, description=field.description)


_EVENT_TYPES = Field(False, description="Tell the names of all events")
_fields: dict[str, Any] = {SETTING_NAMES[name]: _asked(name) for name in SETTING_NAMES}
SettingsQuery: type[Input] = create_model(
    "SettingsQuery", __base__=Input, __doc__="Which settings to tell.", event_types=(bool, _EVENT_TYPES), **_fields
)
_answers: dict[str, Any] = {SETTING_NAMES[name]: _answer(name) for name in SETTING_NAMES}
SettingsAnswer: type[Output] = create_model(
    "SettingsAnswer",
    __base__=Output,
    __doc__="The settings that were asked for; null where nothing is set.",
    event_types=(list[str] | None, Field(None, description="The names of all events")),
    **_answers,
)
