"""The prepared settings (`EENGINE_SETTINGS`): read and judged before anything starts."""

from __future__ import annotations

from typing import Any

import orjson
import structlog
from pydantic import ValidationError

from postbus.common.config import ConfigError
from postbus.common.service_settings import SETTING_NAMES, ServiceSettings

log = structlog.get_logger()


def read_prepared(text: str | None) -> dict[str, Any]:
    """The prepared settings by their public names, validated; ConfigError with everything that is wrong with them.

    Keys that are no settings of this version are dropped and named in a warning.
    """
    if text is None:
        return {}
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ConfigError([f"EENGINE_SETTINGS: is not JSON: {error}"]) from error
    if not isinstance(given, dict):
        raise ConfigError(["EENGINE_SETTINGS: has to be a JSON object"])
    known = {name: value for name, value in given.items() if name in SETTING_NAMES}
    if unknown := sorted(given.keys() - known.keys()):
        log.warning("prepared settings that this version does not know are dropped", names=unknown)
    try:
        settings = ServiceSettings.model_validate(known)
    except ValidationError as error:
        raise ConfigError([_problem(problem["loc"], problem["msg"]) for problem in error.errors()]) from None
    return settings.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _problem(location: tuple[int | str, ...], message: str) -> str:
    return f"EENGINE_SETTINGS: {'.'.join(map(str, location))}: {message.removeprefix('Value error, ')}"
