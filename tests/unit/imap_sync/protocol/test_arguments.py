"""RFC 9051, 4.3: strings of commands, and that nothing in them begins another command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import BadInput
from postbus.imap_sync.protocol import arguments
from postbus.imap_sync.protocol.flags import compose_flags
from postbus.imap_sync.protocol.tokens import parse_tokens


@given(st.text(max_size=60))
def test_a_string_reaches_the_server_as_it_is_or_is_refused(value: str) -> None:
    try:
        argument = arguments.astring(value)
    except (BadInput, UnicodeEncodeError):
        assert "\0" in value or not value.isprintable()
        return
    if isinstance(argument, str):
        assert parse_tokens([argument.encode()]) == [value.encode()]
        assert "\r" not in argument and "\n" not in argument
    else:
        assert argument == value.encode()


def test_line_ends_go_as_literals_and_nul_is_refused() -> None:
    assert arguments.astring("a\r\nA2 LOGOUT") == b"a\r\nA2 LOGOUT"
    assert arguments.astring("ü") == "ü".encode()
    with pytest.raises(BadInput):
        arguments.astring("a\0b")


@pytest.mark.parametrize("word", ["1\r\nA2 LOGOUT", "\n", "\0", "ü"])
def test_bare_words_with_line_ends_are_refused(word: str) -> None:
    with pytest.raises(BadInput):
        arguments.text("UID FETCH", word)


def test_search_values_are_quoted_and_named_utf8_only_when_they_need_it() -> None:
    assert arguments.search_criteria(["UNSEEN", "FROM", b'J"an']) == ["UNSEEN", "FROM", '"J\\"an"']
    assert arguments.search_criteria(["SUBJECT", "ü".encode()]) == ["CHARSET UTF-8", "SUBJECT", "ü".encode()]


def test_flags_are_atoms_or_refused() -> None:
    assert compose_flags(["\\Seen", "$Forwarded", "[x"]) == "(\\Seen $Forwarded [x)"
    for flag in ("a b", "x)", "", "\\", "\\\\Seen", "a\r\nb", "ü", "%", '"'):
        with pytest.raises(BadInput):
            compose_flags([flag])
