"""Contract, section 12: what a reply or forward takes from the original."""

import pytest

from postbus.api.replies import recipients_of, subject_of, threading_of
from postbus.common.commands import ReferenceAddress, ReferenceInfo


def original(**changes: object) -> ReferenceInfo:
    facts: dict[str, object] = {
        "message_id": "<own@x>",
        "in_reply_to": None,
        "references": None,
        "subject": "Report",
        "from_": [ReferenceAddress(name="A", address="a@x")],
        "reply_to": [],
        "to": [],
        "cc": [],
    }
    return ReferenceInfo.model_validate(facts | changes)


def test_a_thread_lists_everything_before_once_and_the_original_last() -> None:
    facts = original(references="<1@x> <2@x>\r\n <1@x>", in_reply_to="2@x")
    assert threading_of(facts, "reply").references == ("<1@x>", "<2@x>", "<own@x>")


def test_only_a_reply_answers() -> None:
    assert threading_of(original(), "reply").in_reply_to == "<own@x>"
    assert threading_of(original(), "forward").in_reply_to is None
    assert threading_of(original(), "forward").references == ("<own@x>",)


def test_an_original_without_a_message_id_can_be_answered() -> None:
    assert threading_of(original(message_id=None), "reply").in_reply_to is None
    assert threading_of(original(message_id="nonsense"), "reply").references == ()


@pytest.mark.parametrize(
    ("subject", "reply", "forward"),
    [
        ("Report", "Re: Report", "Fwd: Report"),
        ("RE: Report", "RE: Report", "Fwd: RE: Report"),
        ("fwd: Report", "Re: fwd: Report", "fwd: Report"),
        ("Re:Report", "Re:Report", "Fwd: Re:Report"),
        ("", "Re:", "Fwd:"),
        ("a\r\nBcc: x", "Re: a Bcc: x", "Fwd: a Bcc: x"),
    ],
)
def test_a_subject_gets_its_prefix_once(subject: str, reply: str, forward: str) -> None:
    assert subject_of(original(subject=subject), "reply") == reply
    assert subject_of(original(subject=subject), "forward") == forward


def test_a_reply_goes_to_reply_to_where_that_has_an_address() -> None:
    group = ReferenceAddress(name="undisclosed", address="")
    assert [one.address for one in recipients_of(original(reply_to=[group, ReferenceAddress(address="r@x")]))] == [
        "r@x"
    ]
    assert [one.address for one in recipients_of(original(reply_to=[group]))] == ["a@x"]
