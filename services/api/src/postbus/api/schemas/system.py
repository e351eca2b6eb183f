"""Statistics, health and settings as clients read them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model

from postbus.api.schemas.fields import Input, Output
from postbus.common.accounts import AccountState
from postbus.common.service_settings import SECRET_SETTINGS, SETTING_NAMES, ServiceSettings

MAX_STATS_SECONDS = 604_800


class NoQuery(Input):
    """A request without a query."""


class StatsQuery(Input):
    """Which time to look at."""

    seconds: int = Field(3600, ge=0, le=MAX_STATS_SECONDS, description="How far the counters look back")


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
    connections: dict[AccountState, int] = Field(description="Accounts by state", examples=[{"connected": 24}])
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
    return bool, Field(False, description=f"Tell `{name}`: {description}")


def _answer(name: str) -> tuple[Any, Any]:
    field = ServiceSettings.model_fields[SETTING_NAMES[name]]
    if name in SECRET_SETTINGS:
        return bool | None, Field(None, description=f"Whether it is set: {field.description}")
    return field.annotation, Field(None, description=field.description)


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
