"""Settings of the running system (contract, section 24)."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from starlette.responses import Response

from postbus.api.document import errors_of
from postbus.api.masking import is_masked_url, mask_headers, mask_url, unmask_headers
from postbus.api.requests import DeadlineS, JsonRoute, PartsOf
from postbus.api.schemas.fields import MASK
from postbus.api.schemas.system import NoQuery, SettingsAnswer, SettingsQuery, SettingsUpdated
from postbus.common import commands
from postbus.common.events import EVENT_NAMES
from postbus.common.service_settings import SECRET_SETTINGS, SETTING_NAMES, ServiceSettings

router = APIRouter(route_class=JsonRoute, tags=["Settings"])

_URLS = frozenset({"webhooks", "authServer", "serviceUrl", "proxyUrl"})


@router.get(
    "/v1/settings",
    summary="Read settings",
    response_model=SettingsAnswer,
    responses=errors_of(400, 401, 500, 503),
)
async def read_settings(
    query: Annotated[SettingsQuery, Query()],
    parts: PartsOf,
    deadline_s: DeadlineS,
) -> Response:
    """Those settings that are asked for by name; null where nothing is set. Secrets read true or false."""
    asked = query.model_dump(by_alias=True)
    current = await parts.settings_store.read()
    answer = {name: shown_setting(current, name) for name in SETTING_NAMES if asked[name]}
    if asked["eventTypes"]:
        answer["eventTypes"] = list(EVENT_NAMES)
    return Response(orjson.dumps(answer), media_type="application/json")


@router.post(
    "/v1/settings",
    summary="Change settings",
    response_model=SettingsUpdated,
    responses=errors_of(400, 401, 413, 500, 503),
)
async def write_settings(
    body: ServiceSettings, parts: PartsOf, deadline_s: DeadlineS, _: Annotated[NoQuery, Query()]
) -> Response:
    """Change what is given and keep the rest; null unsets. All services know within moments, this one at once."""
    changes = settings_changes(await parts.settings_store.read(), body)
    if changes:
        await parts.settings_store.write(changes)
        await parts.bus.say(commands.SETTINGS_CHANGED)
    await parts.settings.load()
    return Response(orjson.dumps({"updated": list(changes)}), media_type="application/json")


def shown_setting(settings: ServiceSettings, name: str) -> Any:
    """A setting as the API shows it, without secrets."""
    value = getattr(settings, SETTING_NAMES[name])
    if name in SECRET_SETTINGS:
        return bool(value)
    if name in _URLS:
        return mask_url(value)
    if name == "logs" and value is not None:
        return value.model_dump(by_alias=True)
    if name == "webhooksCustomHeaders" and value is not None:
        return mask_headers(value)
    return value


def settings_changes(current: ServiceSettings, given: ServiceSettings) -> dict[str, Any]:
    """What to write, by public name: all that is given but masked values and blank secrets."""
    changes = given.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for name in list(changes):
        value = changes[name]
        if (name in _URLS and value and is_masked_url(value)) or (name in SECRET_SETTINGS and value in ("", MASK)):
            del changes[name]
        elif name == "webhooksCustomHeaders" and value is not None:
            changes[name] = unmask_headers(value, current.webhooks_custom_headers or ())
    return changes
