"""How long is waited: before connecting again, and for a message that is listed but not given."""

from postbus.imap_sync.backoff import SURVIVAL_S, Backoff, Fault
from postbus.imap_sync.late_mail import LateMail


def longest(low: float, high: float) -> float:
    return high


def shortest(low: float, high: float) -> float:
    return low


def test_a_server_that_is_away_is_tried_again_soon_and_less_often_the_longer_it_is_away() -> None:
    backoff = Backoff(draw=longest)
    delays = [backoff.next_s(Fault.AWAY) for _ in range(24)]
    assert delays[:4] == [0.5, 0.75, 1.125, 1.6875]
    assert delays[-1] == 600
    away = 0.0
    for delay in delays:
        assert delay <= 0.5 + away / 2 + 1e-9  # so nobody waits longer than the outage lasted, by half
        away += delay


def test_half_of_a_delay_is_drawn() -> None:
    assert Backoff(draw=shortest).next_s(Fault.AWAY) == 0.25


def test_only_a_session_that_survives_starts_the_delays_anew() -> None:
    """A server that accepts a login and drops at once is not logged into again and again (trap 40)."""
    backoff = Backoff(draw=longest)
    delays = [backoff.next_s(Fault.DROPPED, lived_s=SURVIVAL_S - 1) for _ in range(12)]
    assert delays[:4] == [2, 3, 4.5, 6.75]
    assert delays[-1] == 30
    backoff.settled()
    assert backoff.next_s(Fault.DROPPED, lived_s=SURVIVAL_S - 1) == 30
    assert backoff.next_s(Fault.DROPPED, lived_s=SURVIVAL_S) == 2


def test_a_server_that_can_not_be_worked_with_is_logged_into_less_and_less() -> None:
    """(trap 40)"""
    backoff = Backoff(draw=longest)
    delays = [backoff.next_s(Fault.BROKEN, lived_s=5.0) for _ in range(20)]
    backoff.settled()
    assert delays[:3] == [2, 3, 4.5]
    assert backoff.next_s(Fault.BROKEN) == 600


def test_a_server_that_is_back_and_works_is_not_punished_for_having_been_away() -> None:
    backoff = Backoff(draw=longest)
    for _ in range(10):
        backoff.next_s(Fault.AWAY)
    backoff.settled()
    assert backoff.next_s(Fault.AWAY) == 0.5


def test_a_refused_login_is_never_repeated_soon() -> None:
    backoff = Backoff(draw=shortest)
    assert [backoff.next_s(Fault.REFUSED) for _ in range(3)] == [8, 16, 32]


def test_a_server_that_says_when_to_come_again_is_heard() -> None:
    backoff = Backoff(draw=longest)
    assert backoff.next_s(Fault.AWAY, at_least_s=45.0) == 45
    assert backoff.next_s(Fault.AWAY, at_least_s=10.0**9) == 600


def test_a_message_is_tried_three_times_before_it_is_missing() -> None:
    late = LateMail()
    now, gaps = 0.0, []
    while not late.missed("INBOX", 1, [5], now):
        gaps.append(round(late.next_at() - now, 1))
        now = late.next_at()
        assert late.take_due(now) == ["INBOX"]
    assert gaps == [1.0, 1.7, 2.9]


def test_a_message_that_came_after_all_is_forgotten() -> None:
    late = LateMail()
    late.missed("INBOX", 1, [5], 0.0)
    late.came(1, [5])
    assert late.missed("INBOX", 1, [5], 0.0) == []
    assert late.tries == {(1, 5): 1}
