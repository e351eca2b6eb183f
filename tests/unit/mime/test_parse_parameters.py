"""RFC 2045, 5.1 and RFC 2231: parameters of Content-Type and Content-Disposition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.mime.parameters import decode_parameters, parse_content_value


@pytest.mark.parametrize(
    ("value", "kind", "parameters"),
    [
        ("text/plain; charset=us-ascii (Plain text)", "text/plain", {"charset": "us-ascii (Plain text)"}),
        ('text/plain; charset="us-ascii"', "text/plain", {"charset": "us-ascii"}),
        # RFC 2231, 3 and 4
        (
            'message/external-body; access-type=URL;\r\n URL*0="ftp://";\r\n URL*1="cs.utk.edu/pub/moose/moose.tar"',
            "message/external-body",
            {"access-type": "URL", "url": "ftp://cs.utk.edu/pub/moose/moose.tar"},
        ),
        (
            "application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
            "application/x-stuff",
            {"title": "This is ***fun***"},
        ),
        (
            "application/x-stuff;\r\n title*0*=us-ascii'en'This%20is%20even%20more%20;\r\n"
            ' title*1*=%2A%2A%2Afun%2A%2A%2A%20;\r\n title*2="isn\'t it!"',
            "application/x-stuff",
            {"title": "This is even more ***fun*** isn't it!"},
        ),
        ("attachment; filename=x; filename*=utf-8''gr%C3%BCn.txt", "attachment", {"filename": "grün.txt"}),
        ('attachment; filename="=?utf-8?Q?gr=C3=BCn?=.txt"', "attachment", {"filename": "grün.txt"}),
        ('attachment; filename="a\\"b\\\\c.txt"', "attachment", {"filename": 'a"b\\c.txt'}),
        ('attachment; filename="C:\\temp\\x.txt"', "attachment", {"filename": "C:\\temp\\x.txt"}),
        ('attachment; filename="unclosed', "attachment", {"filename": "unclosed"}),
        ("attachment; filename=a b.txt", "attachment", {"filename": "a b.txt"}),
        ("attachment; filename*0=a; filename*2=c", "attachment", {"filename": "a"}),
        ("attachment; filename*=%FFx", "attachment", {"filename": "ÿx"}),
        ("attachment; filename=a; FILENAME=b", "attachment", {"filename": "a"}),
        ("text/plain; charset=a; charset=b", "text/plain", {"charset": "a"}),
        ("text", "text", {}),
        ("TEXT / Plain", "text/plain", {}),
        ("", "", {}),
        (";;;", "", {}),
        ("a/b; =x; y; z=1", "a/b", {"z": "1"}),
        ("attachment; filename*=utf-8''a%0D%0Ab%00", "attachment", {"filename": "a  b "}),
    ],
)
def test_parameters_are_read(value: str, kind: str, parameters: dict[str, str]) -> None:
    found_kind, found = parse_content_value(value)
    assert found_kind == kind
    assert found == parameters


def test_parameters_as_a_server_lists_them() -> None:
    assert decode_parameters({"NAME*1*": "%C3%BCn", "name*0*": "utf-8''gr", "X": "y"}) == {"name": "grün", "x": "y"}


@given(st.binary() | st.text())
def test_any_value_is_read(value: bytes | str) -> None:
    kind, parameters = parse_content_value(value)
    assert kind == kind.lower()
    for name, text in parameters.items():
        (name + text).encode()
        assert not {"\r", "\n", "\0"} & set(text)


NAMES = st.from_regex(r"\A[a-z]{1,3}(\*[0-9]{0,5})?\*?\Z")


@given(st.dictionaries(NAMES | st.text(), st.text(), max_size=20))
def test_any_parameters_of_a_server_are_read(parameters: dict[str, str]) -> None:
    for name, text in decode_parameters(parameters).items():
        assert name == name.strip().lower()
        text.encode()
