"""Contract, section 7: ids of messages, texts and attachments; and the tokens, partitions and queue ids of ours."""

import base64
import re
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postbus.common import ids
from postbus.common.errors import NotFound
from postbus.common.ids import AttachmentId, MessageId, TextId

UINT32 = st.integers(1, 2**32 - 1)
PART = st.lists(st.integers(1, 9999), min_size=1, max_size=10).map(lambda numbers: ".".join(map(str, numbers)))
PARTS = st.lists(PART, max_size=5).map(tuple)
GENERATION = UUID("6f9619ff-8b86-4011-b42d-00c04fc964ff")


def test_a_message_id_is_mailbox_number_and_uid() -> None:
    assert str(MessageId(1, 481)) == "AAAAAQAAAeE"
    assert ids.parse_message_id("AAAAAQAAAeE") == MessageId(1, 481)


def test_a_text_id_adds_its_part_numbers() -> None:
    assert str(TextId(MessageId(1, 481), ("1",), ("2",))) == "AAAAAQAAAeGTkaExkaEykA"
    assert ids.parse_text_id("AAAAAQAAAeGTkaExkaEykA") == TextId(MessageId(1, 481), ("1",), ("2",))


def test_an_attachment_id_adds_its_part_number_in_ascii() -> None:
    assert str(AttachmentId(MessageId(1, 481), "2.1")) == base64.urlsafe_b64encode(
        b"\0\0\0\1\0\0\x01\xe12.1"
    ).decode().rstrip("=")


@given(UINT32, UINT32)
def test_message_ids_read_back(mailbox: int, uid: int) -> None:
    message = MessageId(mailbox, uid)
    assert ids.parse_message_id(str(message)) == message


@given(UINT32, UINT32, PARTS, PARTS, PARTS)
def test_text_ids_read_back(
    mailbox: int, uid: int, plain: tuple[str, ...], html: tuple[str, ...], other: tuple[str, ...]
) -> None:
    text = TextId(MessageId(mailbox, uid), plain, html, other)
    assert ids.parse_text_id(str(text)) == text


@given(UINT32, PART)
def test_attachment_ids_read_back(uid: int, part: str) -> None:
    attachment = AttachmentId(MessageId(7, uid), part)
    assert ids.parse_attachment_id(str(attachment)) == attachment


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("=")))
@example("A")
@example("AAAAAAAAAAA")  # mailbox 0
@example("AAAAAQAAAeGTkaExkaEy")  # cut short
@example("AAAAAQAAAeGT" + "k" * 1000)
def test_whatever_is_no_id_is_not_found(text: str) -> None:
    for parse in (ids.parse_message_id, ids.parse_text_id, ids.parse_attachment_id):
        try:
            parsed = parse(text)
        except NotFound:
            continue
        assert parse(str(parsed)) == parsed


@pytest.mark.parametrize("part", ["0", "1.", "1..2", "BODY[1]", "1]", "TEXT", "１"])
def test_a_part_number_that_is_none_never_gets_to_a_server(part: str) -> None:
    raw = b"\0\0\0\1\0\0\x01\xe1" + part.encode()
    with pytest.raises(NotFound):
        ids.parse_attachment_id(base64.urlsafe_b64encode(raw).decode().rstrip("="))


@given(st.text(max_size=300))
@example("*")
@example("a.b")
@example("x_abc")
@example("xh_abc")
@example("")
@example("user@example.com")
@example("é" * 40)
def test_account_tokens_are_safe_everywhere_and_lead_back_to_the_account(account: str) -> None:
    token = ids.account_token(account)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", token)
    if token.startswith("x_"):
        letters = token[2:].upper()
        assert base64.b32decode(letters + "=" * (-len(letters) % 8)).decode("utf-8", "surrogatepass") == account
    elif not token.startswith("xh_"):
        assert token == account


@given(st.lists(st.text(max_size=100), unique=True, min_size=2, max_size=20))
def test_different_accounts_have_different_tokens(accounts: list[str]) -> None:
    assert len({ids.account_token(account) for account in accounts}) == len(accounts)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0x811C9DC5),
        ("a", 0xE40C292C),
        ("b", 0xE70C2DE5),
        ("foobar", 0xBF9CF968),
        ("chongo was here!\n", 0xD49930D5),
    ],
)
def test_fnv_1a_has_its_published_values(text: str, value: int) -> None:
    assert ids.fnv1a32(text) == value


def test_partition_and_shard_of_an_account_never_change() -> None:
    assert (ids.partition_of("foobar"), ids.shard_of("foobar")) == (0xBF9CF968 % 256, 0xBF9CF968 % 32)


def test_event_ids_are_stable_and_differ_where_anything_differs() -> None:
    first = ids.event_id(GENERATION, "messageNew", 1, 2, 3)
    assert str(first) == "a013d470-e572-5508-ae9a-1e648e4384dd"
    assert first == ids.event_id(GENERATION, "messageNew", "1", 2, 3)
    others = [
        ids.event_id(GENERATION, "messageDeleted", 1, 2, 3),
        ids.event_id(GENERATION, "messageNew", 12, 3),
        ids.event_id(GENERATION, "messageNew", 1, 23),
        ids.event_id(UUID(int=0), "messageNew", 1, 2, 3),
    ]
    assert len({first, *others}) == 5


def test_queue_ids_sort_by_time_and_are_safe_in_subjects() -> None:
    earlier, later = ids.new_queue_id(1_795_000_000_000), ids.new_queue_id(1_795_000_000_001)
    assert earlier < later
    assert re.fullmatch(r"[0-9a-f]{19}", earlier)
    assert ids.new_queue_id() != ids.new_queue_id()


@given(st.text(min_size=1, max_size=60))
def test_people_are_shown_the_account_id_of_a_token(account: str) -> None:
    token = ids.account_token(account)
    assert ids.shown_account(token) == account or token.startswith("xh_")


@pytest.mark.parametrize("token", ["xh_" + "0" * 64, "x_!", "x_1"])
def test_a_token_that_can_not_be_turned_back_is_shown_as_it_is(token: str) -> None:
    assert ids.shown_account(token) == token
