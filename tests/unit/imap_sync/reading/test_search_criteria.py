"""Contract, section 8: every field of a search and the keys it becomes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.commands import SearchQuery
from postbus.common.errors import BadInput, NotSupported
from postbus.imap_sync.operations.pages import Page
from postbus.imap_sync.protocol.arguments import search_criteria
from postbus.imap_sync.protocol.ranges import to_ranges
from postbus.imap_sync.search import any_of, compose_search, is_sequence_set

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
GMAIL = frozenset({"X-GM-EXT-1"})
OBJECTS = frozenset({"OBJECTID"})
EVERYTHING = frozenset({"X-GM-EXT-1", "OBJECTID", "CONDSTORE", "WITHIN"})


def compose(capabilities: frozenset[str] = frozenset(), **search: Any) -> list[str | bytes]:
    return compose_search(SearchQuery.model_validate(search), capabilities, at=AT)


@pytest.mark.parametrize(
    ("search", "criteria"),
    [
        ({}, ["ALL"]),
        ({"seq": "1:10,*"}, ["1:10,*"]),
        ({"uid": "5:*"}, ["UID", "5:*"]),
        ({"answered": True, "deleted": False}, ["ANSWERED", "UNDELETED"]),
        ({"draft": True, "flagged": False}, ["DRAFT", "UNFLAGGED"]),
        ({"seen": True}, ["SEEN"]),
        ({"seen": False}, ["UNSEEN"]),
        ({"unseen": True}, ["UNSEEN"]),
        ({"unseen": False}, ["SEEN"]),
        ({"from": "Ann", "to": "b", "cc": "c", "bcc": "d"}, ["FROM", b"Ann", "TO", b"b", "CC", b"c", "BCC", b"d"]),
        ({"body": "x", "subject": "Grüße"}, ["BODY", b"x", "SUBJECT", "Grüße".encode()]),
        ({"from": "", "subject": "", "uid": "", "seq": "", "gmailRaw": "", "emailId": "", "threadId": ""}, ["ALL"]),
        ({"emailIds": [], "labels": {"has": [], "not": []}, "header": {}}, ["ALL"]),
        ({"larger": 0, "smaller": 1024}, ["LARGER", "0", "SMALLER", "1024"]),
        ({"since": "2026-01-02T03:04:05Z"}, ["SINCE", "2-Jan-2026"]),
        ({"before": "2026-01-02T23:30:00-01:00"}, ["BEFORE", "3-Jan-2026"]),
        (
            {"sentSince": "2026-01-02T00:00:00Z", "sentBefore": "2026-12-31T00:00:00Z"},
            ["SENTSINCE", "2-Jan-2026", "SENTBEFORE", "31-Dec-2026"],
        ),
        ({"header": {"X-A": "b"}}, ["HEADER", b"X-A", b"b"]),
        ({"header": {"X-A": True, "X-B": ""}}, ["HEADER", b"X-A", b"", "HEADER", b"X-B", b""]),
    ],
)
def test_a_field_becomes_its_key(search: dict[str, Any], criteria: list[str | bytes]) -> None:
    assert compose(**search) == criteria


def test_arrival_is_to_the_second_where_the_server_has_within() -> None:
    """SINCE and BEFORE count days in the server's time zone (trap 35)."""
    within = frozenset({"WITHIN"})
    an_hour_ago = (AT - timedelta(hours=1)).isoformat()
    assert compose(within, since=an_hour_ago, before=an_hour_ago) == ["YOUNGER", "3600", "OLDER", "3600"]


def test_a_future_arrival_is_to_the_day_as_within_knows_none() -> None:
    assert compose(frozenset({"WITHIN"}), before="2027-02-01T00:00:00Z") == ["BEFORE", "1-Feb-2027"]


def test_ids_are_those_that_the_server_has() -> None:
    assert compose(OBJECTS, emailId="M1-a", threadId="T2") == ["EMAILID", "M1-a", "THREADID", "T2"]
    assert compose(GMAIL, emailId="12", threadId="34") == ["X-GM-MSGID", "12", "X-GM-THRID", "34"]
    assert compose(OBJECTS, emailIds=["a", "b", "a", ""]) == ["OR", "EMAILID", "a", "EMAILID", "b"]


@pytest.mark.parametrize(("capabilities", "value"), [(OBJECTS, "a b"), (OBJECTS, "ä"), (GMAIL, "1 OR 2"), (GMAIL, "x")])
def test_an_id_that_no_message_can_have_finds_nothing(capabilities: frozenset[str], value: str) -> None:
    assert compose(capabilities, emailId=value) == ["NOT", "ALL"]


def test_labels_and_queries_of_gmail() -> None:
    assert compose(GMAIL, labels={"has": ["\\Inbox", "Büro"], "not": ["x"]}) == [
        *("X-GM-LABELS", b"\\Inbox", "X-GM-LABELS", b"B&APw-ro", "NOT", "X-GM-LABELS", b"x"),
    ]
    assert compose(GMAIL, gmailRaw="has:attachment ü") == ["X-GM-RAW", "has:attachment ü".encode()]


@pytest.mark.parametrize(
    "search",
    [
        {"labels": {"has": ["x"]}},
        {"labels": {"not": ["x"]}},
        {"gmailRaw": "x"},
        {"emailId": "1"},
        {"threadId": "1"},
        {"emailIds": ["1"]},
        {"modseq": 5},
    ],
)
def test_what_needs_an_extension_is_refused_without_it_and_never_left_out(search: dict[str, Any]) -> None:
    with pytest.raises(NotSupported) as error:
        compose(**search)
    assert error.value.code == "MissingServerExtension"


@pytest.mark.parametrize("extension", ["CONDSTORE", "QRESYNC"])
def test_modseq_needs_either_extension_that_has_it(extension: str) -> None:
    assert compose(frozenset({extension}), modseq=0) == ["MODSEQ", "0"]


@pytest.mark.parametrize(
    ("search", "key"),
    [
        ({"from": "a\0"}, "search.from"),
        ({"header": {"X-A": "\0"}}, "search.header.X-A"),
        ({"header": {"X A": "b"}}, "search.header"),
        ({"header": {"": "b"}}, "search.header"),
        ({"uid": "1 ALL"}, "search.uid"),
        ({"seq": "0"}, "search.seq"),
    ],
)
def test_what_can_not_be_said_is_refused_with_its_place(search: dict[str, Any], key: str) -> None:
    with pytest.raises(BadInput) as error:
        compose(**search)
    assert error.value.fields[0]["key"] == key


@pytest.mark.parametrize("text", ["1", "*", "1:*", "*:4,7", "1,2:3,*"])
def test_sequence_sets(text: str) -> None:
    assert is_sequence_set(text)


@pytest.mark.parametrize("text", ["", "0", "01", "1:", ":1", "1,,2", "1 ", "1\n", "a", "$", "-1", "1:2:3", "٣"])
def test_no_sequence_sets(text: str) -> None:
    assert not is_sequence_set(text)


@given(st.integers(1, 2000))
def test_one_of_many_is_a_flat_tree_with_every_key_once(count: int) -> None:
    words = any_of([("UID", str(number)) for number in range(count)])
    assert words.count("OR") == count - 1
    assert sorted(int(word) for word in words if word.isdigit()) == list(range(count))
    assert deepest_or(words) <= count.bit_length()


def deepest_or(words: Any) -> int:
    """How deep the prefix notation nests."""
    open_ors: list[int] = []
    deepest = 0
    for word in words:
        if word == "OR":
            open_ors.append(2)
            deepest = max(deepest, len(open_ors))
        elif word.isdigit():
            while open_ors:
                open_ors[-1] -= 1
                if open_ors[-1]:
                    break
                open_ors.pop()
    return deepest


strings = st.text(max_size=50)
searches = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("seq", "uid", "from", "to", "subject", "body", "gmailRaw", "emailId", "threadId"), strings),
        **{name: st.booleans() for name in ("answered", "seen", "unseen", "flagged")},
        "larger": st.integers(0, 2**30),
        "modseq": st.integers(0, 2**63),
        "since": st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC)),
        "before": st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC)),
        "header": st.dictionaries(strings, strings | st.just(value=True), max_size=3),
        "emailIds": st.lists(strings, max_size=5),
        "labels": st.fixed_dictionaries({"has": st.lists(strings, max_size=3)}),
    },
)


@given(searches, st.sampled_from([EVERYTHING, OBJECTS | {"QRESYNC"}, frozenset[str]()]))
def test_whatever_is_asked_for_is_one_command_or_refused(search: dict[str, Any], capabilities: frozenset[str]) -> None:
    try:
        arguments = search_criteria(compose(capabilities, **search))
    except (BadInput, NotSupported):
        return
    assert arguments
    for argument in arguments:
        assert isinstance(argument, bytes) or not set(argument) & set("\r\n\0")
    if any(isinstance(one, bytes) and not one.isascii() for one in arguments):
        assert arguments[0] == "CHARSET UTF-8"


@given(st.sets(st.integers(1, 300)), st.integers(0, 10), st.integers(1, 50))
def test_a_page_of_what_is_found_is_a_slice_of_it_newest_first(found: set[int], number: int, size: int) -> None:
    newest_first = sorted(found, reverse=True)
    assert Page(number, size).uids(to_ranges(found)) == newest_first[number * size : (number + 1) * size]
