"""Prepared settings are judged before anything starts, all problems at once."""

import pytest

from postbus.cli.supervisor.prepared import read_prepared
from postbus.common.config import ConfigError


def test_values_are_read_as_the_api_reads_them() -> None:
    assert read_prepared('{"notifyText": "Y", "webhookEvents": ["*"]}') == {"notifyText": True, "webhookEvents": ["*"]}


def test_nothing_prepared_is_nothing_to_write() -> None:
    assert read_prepared(None) == {}


def test_unknown_names_are_dropped() -> None:
    assert read_prepared('{"noSuch": 1, "notifyTextSize": 5}') == {"notifyTextSize": 5}


def test_null_unsets_a_setting() -> None:
    assert read_prepared('{"webhooks": null}') == {"webhooks": None}


def test_every_problem_has_a_line_of_its_own() -> None:
    with pytest.raises(ConfigError) as error:
        read_prepared('{"webhooks": "nonsense", "notifyTextSize": -1}')
    assert [problem.split(": ")[1] for problem in error.value.problems] == ["webhooks", "notifyTextSize"]
    assert all(problem.startswith("EENGINE_SETTINGS: ") for problem in error.value.problems)


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '"x"'])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="EENGINE_SETTINGS"):
        read_prepared(text)
