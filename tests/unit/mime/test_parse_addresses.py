"""RFC 5322, 3.4 and appendix A: address lists, and that no address is ever invented."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.mime.addresses import MAX_ADDRESSES, Address, parse_addresses


@pytest.mark.parametrize(
    ("value", "addresses"),
    [  # RFC 5322, appendix A
        ("John Doe <jdoe@machine.example>", [("John Doe", "jdoe@machine.example")]),
        ('"Joe Q. Public" <john.q.public@example.com>', [("Joe Q. Public", "john.q.public@example.com")]),
        (
            "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
            [("Mary Smith", "mary@x.test"), ("", "jdoe@example.org"), ("Who?", "one@y.test")],
        ),
        (
            '<boss@nil.test>, "Giant; \\"Big\\" Box" <sysservices@example.net>',
            [("", "boss@nil.test"), ('Giant; "Big" Box', "sysservices@example.net")],
        ),
        (
            "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
            [("Ed Jones", "c@a.test"), ("", "joe@where.test"), ("John", "jdoe@one.test")],
        ),
        ("Undisclosed recipients:;", []),
        (
            "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
            [("Pete", "pete(his account)@silly.test(his host)")],
        ),
        (
            "Mary Smith <@node.test:mary@example.net>, , jdoe@test . example",
            [
                ("Mary Smith", "mary@example.net"),
            ],
        ),
    ],
)
def test_the_examples_of_the_rfc(value: str, addresses: list[tuple[str, str]]) -> None:
    found = [(address.name, address.address) for address in parse_addresses(value)]
    assert found[: len(addresses)] == addresses


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        (b"=?utf-8?Q?Gr=C3=BCn=2C_Hans?= <a@b.test>", [("Grün, Hans", "a@b.test")]),
        (b'"=?utf-8?Q?Gr=C3=BCn?=" <a@b.test>', [("Grün", "a@b.test")]),
        (b"=?utf-8?Q?evil=40bank.test?= <a@b.test>", [("evil@bank.test", "a@b.test")]),
        (b'"evil@bank.test" <a@b.test>', [("evil@bank.test", "a@b.test")]),
        (b"=?utf-8?Q?a=40evil.test=2C?= b@c.test", [("a@evil.test,", "b@c.test")]),
        (b"a@b.test (Hans)", [("Hans", "a@b.test")]),
        (b"a@b.test; c@d.test", [("", "a@b.test"), ("", "c@d.test")]),
        (b"a@b.test c@d.test", [("", "a@b.test"), ("", "c@d.test")]),
        (b"'a@b.test' <'a@b.test'>", [("'a@b.test'", "a@b.test")]),
        (b"Name without address", [("Name without address", "")]),
        (b"<a@b.test", [("", "a@b.test")]),
        (b'"unclosed <a@b.test>', [("unclosed <a@b.test>", "")]),
        (b'"a b"@c.test', [("", '"a b"@c.test')]),
        (b"Hans  \t Huber <a@b.test>", [("Hans Huber", "a@b.test")]),
        (b"J\xf6rg <a@b.test>", [("Jörg", "a@b.test")]),
        ("j@münchen.test".encode(), [("", "j@münchen.test")]),
        (b"<a@b.test\r\n>", [("", "a@b.test")]),
        (b"<>", []),
        (b"", []),
        (b",,;", []),
    ],
)
def test_what_mailers_really_write(value: bytes, addresses: list[tuple[str, str]]) -> None:
    assert [(address.name, address.address) for address in parse_addresses(value)] == addresses


def test_a_list_without_end_is_limited() -> None:
    assert len(parse_addresses(",".join(f"{number}@a" for number in range(MAX_ADDRESSES + 100)))) <= MAX_ADDRESSES


@given(st.binary() | st.text())
def test_any_value_gives_addresses_without_line_breaks(value: bytes | str) -> None:
    for address in parse_addresses(value):
        assert address.name or address.address
        assert not {"\r", "\n", "\0"} & set(address.name + address.address)
        (address.name + address.address).encode()


SAFE_NAME = st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=20)
SAFE_ADDRESS = st.text("abcxyz019.+-", min_size=1, max_size=20).map(lambda local: f"{local}@example.test")


@given(st.lists(st.tuples(SAFE_NAME, SAFE_ADDRESS), min_size=1, max_size=10))
def test_quoted_names_with_addresses_read_back(pairs: list[tuple[str, str]]) -> None:
    value = ", ".join(f'"{name}" <{address}>' for name, address in pairs)
    assert parse_addresses(value) == [Address(name, address) for name, address in pairs]
