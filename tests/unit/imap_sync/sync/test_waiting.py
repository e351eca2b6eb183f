"""How long is waited: before connecting again, and for a message that is listed but not given."""

from postbus.imap_sync.backoff import SURVIVAL_S, Backoff
from postbus.imap_sync.late_mail import LateMail


def longest(low: float, high: float) -> float:
    return high


def shortest(low: float, high: float) -> float:
    return low


def test_delays_double_up_to_ten_minutes() -> None:
    backoff = Backoff(draw=longest)
    delays = [backoff.next_s(lived_s=0) for _ in range(12)]
    assert delays[:4] == [2, 4, 8, 16]
    assert delays[-1] == 600


def test_jitter_is_full() -> None:
    assert Backoff(draw=shortest).next_s(lived_s=0) == 0


def test_a_session_that_lasted_starts_anew() -> None:
    backoff = Backoff(draw=longest)
    for _ in range(5):
        backoff.next_s(lived_s=0)
    assert backoff.next_s(lived_s=SURVIVAL_S) == 2


def test_a_server_that_lets_in_and_drops_is_met_slower_and_slower() -> None:
    backoff = Backoff(draw=longest)
    assert [backoff.next_s(lived_s=1.0) for _ in range(4)] == [2, 4, 8, 16]


def test_a_refused_login_is_never_repeated_soon() -> None:
    backoff = Backoff(draw=shortest)
    assert [backoff.next_s(lived_s=0, login_refused=True) for _ in range(3)] == [8, 16, 32]


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
