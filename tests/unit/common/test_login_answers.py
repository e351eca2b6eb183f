"""What travels back of a login that was tried: never more than the bus takes."""

from postbus.common.verifying import LoginResult, compose_answer

RESULT = LoginResult(success=True, mailboxes=[{"path": f"Box {number}"} for number in range(100)])


def test_mailboxes_come_with_the_result() -> None:
    assert LoginResult.model_validate_json(compose_answer(RESULT, 10_000)) == RESULT


def test_more_mailboxes_than_the_bus_takes_are_left_out_and_the_login_counts() -> None:
    answer = compose_answer(RESULT, 1_000)
    assert LoginResult.model_validate_json(answer) == LoginResult(success=True)
