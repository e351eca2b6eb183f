"""Which failures are tried again: decided by the server's reply, not by the words around it (RFC 5321, 4.2.1)."""

import pytest

from postbus.sender.outcome import (
    Accepted,
    Failure,
    Refusal,
    Verdict,
    deferred_recipients,
    judge,
    recipients_to_retry,
    refusal_failure,
    rewritten_message_id,
)


def refusal(recipient: str, code: int) -> Refusal:
    return Refusal(recipient=recipient, reply_code=code, reply="x")


@pytest.mark.parametrize(
    ("code", "reply_code", "verdict"),
    [
        ("EENVELOPE", 450, Verdict.RETRY),  # greylisting
        ("EENVELOPE", 550, Verdict.GIVE_UP),
        ("EENVELOPE", 421, Verdict.RETRY),
        ("EMESSAGE", 451, Verdict.RETRY),
        ("EMESSAGE", 554, Verdict.GIVE_UP),
        ("EMESSAGE", 503, Verdict.RETRY),
        ("EAUTH", 535, Verdict.GIVE_UP),
        ("EAUTH", 454, Verdict.RETRY),
        ("ECONNECTION", 554, Verdict.GIVE_UP),
        ("ECONNECTION", 220, Verdict.RETRY),  # out of sequence
        ("ECONNECTION", None, Verdict.RETRY),
        ("ETIMEDOUT", None, Verdict.RETRY),
        ("ESOCKET", None, Verdict.RETRY),
        ("EAUTH", None, Verdict.GIVE_UP),
        ("ENOAUTH", None, Verdict.GIVE_UP),
        ("EOAUTH2", None, Verdict.GIVE_UP),
        ("ETLS", None, Verdict.GIVE_UP),
        ("EENVELOPE", None, Verdict.GIVE_UP),
        ("EMESSAGE", None, Verdict.GIVE_UP),
        ("EPROTOCOL", None, Verdict.GIVE_UP),
    ],
)
def test_the_table(code: str, reply_code: int | None, verdict: Verdict) -> None:
    assert judge(Failure(error="x", code=code, reply_code=reply_code)) is verdict


@pytest.mark.parametrize("reply_code", [None, 250, 451, 550])
def test_silence_after_the_end_of_the_message_is_uncertain_whatever_else_is_known(reply_code: int | None) -> None:
    assert judge(Failure(error="x", code="ETIMEDOUT", reply_code=reply_code, uncertain=True)) is Verdict.UNCERTAIN


def test_uncertain_and_final_failures_have_no_recipients_to_retry() -> None:
    uncertain = Failure(error="x", code="ECONNECTION", uncertain=True)
    assert recipients_to_retry(("a", "b"), uncertain, ()) == ()
    assert recipients_to_retry(("a", "b"), Failure(error="x", code="ETLS"), ()) == ()


def test_of_refused_recipients_only_those_that_may_be_taken_later_are_tried_again() -> None:
    refused = (refusal("a", 550), refusal("b", 450), refusal("c", 503))
    failure = refusal_failure(refused)
    assert failure.reply_code == 450
    assert recipients_to_retry(("a", "b", "c"), failure, refused) == ("b", "c")


def test_recipients_left_over_from_a_delivery_are_those_refused_for_now() -> None:
    accepted = Accepted(reply="250", recipients=("a",), refused=(refusal("b", 550), refusal("c", 452)))
    assert deferred_recipients(accepted) == ("c",)


@pytest.mark.parametrize(
    ("host", "reply", "message_id"),
    [
        (
            "smtp.office365.com",
            "250 2.0.0 OK <AM0PR01MB1@AM0PR01MB1.eurprd01.prod.outlook.com> [Hostname=AM0]",
            "<AM0PR01MB1@AM0PR01MB1.eurprd01.prod.outlook.com>",
        ),
        (
            "email-smtp.eu-west-1.amazonaws.com",
            "250 Ok 0102018c1a2b3c4d-11111111-2222-3333-4444-555555555555-000000",
            "<0102018c1a2b3c4d-11111111-2222-3333-4444-555555555555-000000@eu-west-1.amazonses.com>",
        ),
        (
            "email-smtp.us-east-1.amazonaws.com",
            "250 Ok 0100018c1a2b3c4d-11111111-2222-3333-4444-555555555555-000000",
            "<0100018c1a2b3c4d-11111111-2222-3333-4444-555555555555-000000@email.amazonses.com>",
        ),
        ("mail.example.test", "250 2.0.0 Ok: queued as 4XyZ", None),
        ("mail.example.test", "250 Ok 0100018c1a2b3c4d-11111111-2222-3333", None),
    ],
)
def test_a_message_id_that_the_provider_replaced_is_read_from_its_reply(
    host: str, reply: str, message_id: str | None
) -> None:
    """Outlook and Amazon SES rewrite it (trap 56)."""
    assert rewritten_message_id(host, reply) == message_id
