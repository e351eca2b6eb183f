"""RFC 5321, 4.1.1.1: names to introduce ourselves by, without those that servers refuse."""

import pytest

from postbus.sender.greeting import ehlo_name, is_ehlo_name


@pytest.mark.parametrize("name", ["mail.example.test", "localhost", "[127.0.0.1]", "[IPv6:2001:db8::1]", "a-b.c1"])
def test_domains_and_literals_are_names(name: str) -> None:
    assert is_ehlo_name(name)


@pytest.mark.parametrize(
    "name", ["", "my_host", "10.0.0.1", "a b", "-a.b", "a..b", "x\r\nMAIL", "bücher.example", "a" * 256]
)
def test_what_some_servers_refuse_is_no_name(name: str) -> None:
    assert not is_ehlo_name(name)


def test_the_first_usable_wish_wins_and_a_literal_is_the_last_resort() -> None:
    assert ehlo_name("own.example", "address.example") == "own.example"
    assert ehlo_name("my_host", "address.example") == "address.example"
    assert ehlo_name(None, "10.0.0.1") == "[127.0.0.1]"
