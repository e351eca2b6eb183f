"""Events of an attempt: always within the limit of an event, with the words of the contract."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from postbus.common.events import MAX_EVENT_BYTES, seal_event
from postbus.common.jobs import Envelope, Submission
from postbus.sender.outcome import Accepted, Failure, Outcome, Refusal
from postbus.sender.reports import outcome_events, smtp_status

AT = datetime(2026, 11, 25, tzinfo=UTC)
MANY = tuple(f"{'x' * 800}{n}@example.test" for n in range(1000))


def submission(recipients: tuple[str, ...] = ("b@c.test",)) -> Submission:
    return Submission(
        queue_id="q",
        account="a",
        message_id="<x@y>",
        envelope=Envelope(sender="a@b.test", recipients=recipients),
        created=AT,
        send_at=AT,
        deadline=AT + timedelta(days=3),
        size=1,
    )


def test_thousands_of_long_recipients_and_words_fit_into_an_event() -> None:
    outcomes = [
        Outcome(at=AT, accepted=Accepted(reply="250 " + "ok" * 400, recipients=MANY)),
        Outcome(at=AT, failure=Failure(error="e" * 10**6, code="ECONNECTION")),
    ]
    for outcome in outcomes:
        for event in outcome_events(submission(MANY), outcome, 9):
            assert len(seal_event(event, uuid4(), "q", 1).body) <= MAX_EVENT_BYTES


def test_a_failure_that_is_tried_again_says_when_and_is_no_end() -> None:
    due = AT + timedelta(seconds=5)
    (event,) = outcome_events(submission(), Outcome(at=AT, failure=Failure(error="x", code="E"), next_attempt=due), 9)
    body = event.model_dump(mode="json", by_alias=True)
    assert body["event"] == "messageDeliveryError"
    assert body["data"]["job"] == {
        "id": "q",
        "attemptsMade": 1,
        "attempts": 9,
        "nextAttempt": "2026-11-25T00:00:05.000Z",
    }


def test_the_last_failure_is_followed_by_the_end() -> None:
    events = outcome_events(submission(), Outcome(at=AT, failure=Failure(error="x", code="E", uncertain=True)), 9)
    assert [event.event for event in events] == ["messageDeliveryError", "messageFailed"]
    assert (events[1].data.error, events[1].data.outcome) == ("Error: x", "uncertain")


def test_recipients_that_were_refused_beside_others_are_told() -> None:
    refused = (Refusal(recipient="d@e.test", reply_code=550, reply="no"),)
    outcome = Outcome(at=AT, accepted=Accepted(reply="250 ok", recipients=("b@c.test",), refused=refused))
    sent, error = outcome_events(submission(("b@c.test", "d@e.test")), outcome, 9)
    assert (sent.data.envelope.to, error.data.envelope.to) == (["b@c.test"], ["d@e.test"])
    assert error.data.job.next_attempt is False
    assert smtp_status(outcome).status == "ok"


def test_a_new_message_id_of_the_provider_is_told_beside_ours() -> None:
    """Both are told where a provider rewrites it (trap 56)."""
    accepted = Accepted(reply="250 ok", recipients=("b@c.test",), message_id="<new@provider>")
    (sent,) = outcome_events(submission(), Outcome(at=AT, accepted=accepted), 9)
    assert (sent.data.message_id, sent.data.original_message_id) == ("<new@provider>", "<x@y>")
