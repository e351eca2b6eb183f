"""Small readers: addresses, cursors, file names, base64, logins, hosts."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from pydantic_core import PydanticCustomError

from postbus.api.asgi import expected_login, login_of
from postbus.api.downloads import content_disposition, download_headers
from postbus.api.health import is_loopback
from postbus.api.routes.accounts import StateFilter
from postbus.api.routes.messages import page_of_cursor
from postbus.api.schemas.fields import mail_address
from postbus.api.submissions import decode_content
from postbus.common.accounts import AccountState
from postbus.common.commands import DownloadHead
from postbus.common.config_values import BasicAuth
from postbus.common.errors import BadInput


@pytest.mark.parametrize(
    "address",
    [
        "a@b",
        "a.b+c@mail.example.com",
        "user@localhost",
        "a@x.test",
        "ä@exämple.com",
        '"a b"@example.com',
        "a@[127.0.0.1]",
    ],
)
def test_addresses_of_every_kind_are_taken(address: str) -> None:
    assert mail_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "@b",
        "a@",
        "a@b c",
        "a..b@c",
        ".a@c",
        "a@-b.c",
        "a@b\r\nx",
        "a\0@b",
        "a@b,c@d",
        "<a@b>",
        "a" * 65 + "@b.example",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(PydanticCustomError):
        mail_address(address)


def test_a_cursor_names_a_page() -> None:
    encoded = base64.urlsafe_b64encode(b'{"page":12}').decode().rstrip("=")
    assert page_of_cursor(f"imap_{encoded}") == 12


@given(st.text())
def test_any_other_cursor_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput):
        page_of_cursor(text)
    with pytest.raises(BadInput):
        page_of_cursor(f"imap_{base64.urlsafe_b64encode(text.encode('utf-8', 'replace')).decode()}")


@given(st.text(st.characters(exclude_categories=())))
def test_a_file_name_never_leaves_its_header(name: str) -> None:
    value = content_disposition(name)
    assert value.isascii() and value.isprintable()
    assert value.count('"') in (0, 2)


def test_a_content_type_that_is_none_becomes_bytes() -> None:
    headers = dict(download_headers(DownloadHead(content_type="text/html\r\nX: y"), ""))
    assert headers[b"content-type"] == b"application/octet-stream"
    assert b"content-length" not in headers


@given(st.binary())
def test_base64_is_read_in_every_common_form(content: bytes) -> None:
    plain = base64.b64encode(content).decode()
    for text in (
        plain,
        plain.rstrip("="),
        base64.encodebytes(content).decode(),
        base64.urlsafe_b64encode(content).decode(),
    ):
        assert decode_content(text, "x") == content


@pytest.mark.parametrize("text", ["?", "a", "aGVsbG8=aGVsbG8=", "äöü"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        decode_content(text, "attachments.0.content")


def test_a_login_is_read_with_colons_and_umlauts() -> None:
    expected = expected_login(BasicAuth("user", SecretStr("pä:ss")))
    assert login_of(b"Basic " + base64.b64encode("user:pä:ss".encode())) == expected
    assert login_of(b"basic  " + base64.b64encode("user:pä:ss".encode())) == expected
    assert login_of(b"Basic nonsense?") == b""


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("host", False),
    ],
)
def test_loopback_is_told_from_the_network(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_every_state_can_be_asked_for() -> None:
    assert set(StateFilter.__args__) == {*AccountState, "errors"}  # type: ignore[attr-defined]
