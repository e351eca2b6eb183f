"""Settings made from the contract have no faults, and whatever is taken away is noticed."""

from typing import Any

from tests.contract.checker.check_api import contract_operations
from tests.contract.checker.check_settings import (
    UNCHECKED,
    Setting,
    literal_default,
    load_settings,
    settings_faults,
)
from tests.unit.contract.fake_openapi import fake_document

SETTINGS = load_settings()
NEEDED = [setting for setting in SETTINGS if not setting.optional]
OPENAPI = fake_document([op for op in contract_operations().values() if op.path == "/v1/settings"])


def _model(settings: list[Setting]) -> dict[str, Any]:
    """JSON Schema of a settings model that has every key with its type, values and default."""
    root: dict[str, Any] = {"type": "object", "properties": {}}
    for setting in settings:
        owner, _, name = setting.key.rpartition(".")
        holder = root["properties"][owner.removesuffix("[]")] if owner else root
        holder = holder.setdefault("items", {}) if owner.endswith("[]") else holder
        holder.setdefault("properties", {})[name] = _property(setting)
    return root


def _property(setting: Setting) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "string" if setting.type == "any" else setting.type}
    made |= {"enum": list(setting.choices)} if setting.choices else {}
    return made if setting.default in (None, UNCHECKED) else {**made, "default": setting.default}


def _values() -> dict[str, Any]:
    """Every whole key with its default, or null, as a fresh installation answers."""
    whole = [s for s in NEEDED if "." not in s.key]
    found = {s.key: None if s.default is UNCHECKED else s.default for s in whole}
    return {**found, "logs": {"all": False, "maxLogLines": 10000}}


def _failed(source: dict[str, Any]) -> set[tuple[str, str]]:
    return {(result.metric, result.setting.key) for result in settings_faults(source)}


def test_defaults_told_in_words_are_read() -> None:
    assert literal_default("from EENGINE_SMTP_PORT, else 2525", "integer") == 2525
    assert literal_default("from EENGINE_SMTP_SECRET, else null", "string") is None
    assert literal_default("random 16 bytes hex, minted at first start", "string") is UNCHECKED
    assert literal_default("full", "string") == "full"


def test_a_model_with_every_key_has_no_faults_and_each_missing_key_is_one() -> None:
    assert _failed(_model(SETTINGS)) == set()
    for setting in NEEDED:
        rest = [s for s in SETTINGS if not s.key.startswith(setting.key)]
        assert ("keys", setting.key) in _failed(_model(rest))


def test_another_type_and_another_default_are_noticed() -> None:
    source = _model(SETTINGS)
    source["properties"]["deliveryAttempts"] = {"type": "string"}
    source["properties"]["notifyText"]["default"] = False
    expected = {("defaults", "notifyText"), ("types", "deliveryAttempts"), ("defaults", "deliveryAttempts")}
    assert _failed(source) == expected


def test_the_newest_document_lacks_only_the_keys_of_the_old_api() -> None:
    found = {(metric, key) for metric, key in _failed(OPENAPI) if metric != "defaults"}
    old = ("gmailClientId", "gmailClientSecret")
    assert found == {(metric, key) for key in old for metric in ("keys", "readable")}


def test_values_of_a_fresh_installation_are_judged_by_their_defaults() -> None:
    assert _failed(_values()) == set()
    changed = {**_values(), "exportMaxConcurrent": 3}
    del changed["webhooks"]
    assert _failed(changed) == {("defaults", "exportMaxConcurrent"), ("keys", "webhooks")}
