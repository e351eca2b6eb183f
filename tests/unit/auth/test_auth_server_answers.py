"""Contract, section 21: what is asked of the authentication server, and which answers are credentials."""

import json

import pytest

from postbus.auth.auth_server import compose_question, parse_answer
from postbus.common.credentials import Credentials
from postbus.common.errors import AuthenticationFailed


def test_the_question_is_added_to_the_query_that_is_there() -> None:
    request = compose_question("https://auth.example.test/login?key=1", "a b@*", "smtp")
    assert dict(request.url.params) == {"key": "1", "account": "a b@*", "proto": "smtp"}
    assert "authorization" not in request.headers


def test_userinfo_becomes_basic_authentication_and_leaves_the_url() -> None:
    request = compose_question("http://me:p%40ss@auth.example.test/", "a", "imap")
    assert request.headers["authorization"] == "Basic bWU6cEBzcw=="
    assert not request.url.userinfo


@pytest.mark.parametrize("setting", ["ftp://me:hush@x/", "/relative", "http://", "http://x:99999/"])
def test_a_setting_that_is_no_web_address_is_refused_without_repeating_it(setting: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        compose_question(setting, "a", "imap")
    assert "hush" not in caught.value.message
    assert caught.value.code == "HTTPRequestError"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"user": "u", "pass": "p"}, Credentials("u", "p")),
        ({"user": "u", "pass": ""}, Credentials("u", "")),
        ({"user": "u", "accessToken": "t" * 16384, "expires": 1}, Credentials("u", None, "t" * 16384)),
        ({"user": "u", "pass": "p", "accessToken": None}, Credentials("u", "p")),
    ],
)
def test_a_user_with_a_password_or_a_token_is_taken(answer: dict[str, object], expected: Credentials) -> None:
    assert parse_answer(json.dumps(answer).encode()) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"<html>",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"user": "u"}',
        b'{"pass": "p"}',
        b'{"user": "", "pass": "p"}',
        b'{"user": 1, "pass": "p"}',
        b'{"user": "u", "pass": "p", "accessToken": "t"}',
        b'{"user": "u", "accessToken": ""}',
        b"[" * 100_000,
        json.dumps({"user": "u" * 257, "pass": "p"}).encode(),
        json.dumps({"user": "u", "pass": "p" * 257}).encode(),
        json.dumps({"user": "u", "accessToken": "t" * 16385}).encode(),
    ],
)
def test_anything_else_is_a_failed_authentication(body: bytes) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        parse_answer(body)
    assert caught.value.code == "HTTPRequestError"
