"""Every error has a status, and failures of validation read as the contract has them."""

import inspect
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, ValidationError

from postbus.api.errors import STATUS, error_response, invalid_fields, known_error_response, status_of
from postbus.api.schemas.accounts import AccountInput, AuthInput
from postbus.api.schemas.mailboxes import CreateMailboxInput
from postbus.api.schemas.search import SearchInput
from postbus.common import errors
from postbus.common.bus.rpc import NotOwner
from postbus.common.secrets.errors import KeysUnavailable, SecretsState


def every_error() -> list[type[errors.PostbusError]]:
    return [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.PostbusError)]


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_a_row(kind: type[errors.PostbusError]) -> None:
    assert kind in STATUS


def test_an_error_of_a_service_has_the_status_of_its_base() -> None:
    assert status_of(KeysUnavailable(SecretsState.VAULT_DOWN, "down")) == 503
    assert status_of(NotOwner("x")) == 500


def test_details_that_the_contract_names_are_at_the_top() -> None:
    error = errors.AccountNotUsable("Not yet", state="connecting", since=5)
    assert orjson.loads(known_error_response(error).body) == {
        "statusCode": 503,
        "error": "Service Unavailable",
        "message": "Not yet",
        "code": "NotYetConnected",
        "details": {"since": 5},
        "state": "connecting",
    }


def test_bad_input_lists_its_fields_and_has_no_code_of_its_own() -> None:
    body = orjson.loads(known_error_response(errors.BadInput(fields=[{"key": "a", "message": "b"}])).body)
    assert body == {
        "statusCode": 400,
        "error": "Bad Request",
        "message": "Invalid input",
        "fields": [{"key": "a", "message": "b"}],
    }


def test_lone_surrogates_do_not_break_an_answer() -> None:
    failure = {"type": "extra_forbidden", "loc": ("body", "\ud800"), "msg": "x"}
    fields = invalid_fields([failure, failure])
    assert fields == [{"message": '"?" is not allowed', "key": "?"}]
    assert orjson.loads(error_response(400, "\ud800").body)["message"] == "?"


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (CreateMailboxInput, {"path": 5}, "should be a string or a list of strings"),
        (AuthInput, {"user": "x" * 257}, '"user" should have at most 256 characters'),
        (AccountInput, {"account": "a", "path": 5}, "should be a string or a list of strings"),
        (SearchInput, {"uid": "1;5"}, "should be numbers and ranges such as 1:5,7"),
        (AccountInput, {"account": "a", "imap": 5}, '"imap" should be an object'),
    ],
)
def test_failures_of_validation_say_in_words_what_is_expected(
    kind: type[BaseModel], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(given)
    found = [{**failure, "loc": ("body", *failure["loc"])} for failure in caught.value.errors()]
    assert words in [field["message"] for field in invalid_fields(found)]
