"""Budgets: what is taken is given back, and who would exceed one is refused at once."""

import pytest

from postbus.api.limits import Budget, limits_of
from postbus.common.config import Config
from postbus.common.errors import Unavailable


def test_a_budget_refuses_what_does_not_fit_and_forgets_what_was_given_back() -> None:
    budget = Budget(10)
    with budget.held(6):
        with pytest.raises(Unavailable):
            budget.take(5)
        budget.take(4)
        budget.give(4)
    assert budget.used == 0


def test_two_of_the_largest_bodies_have_room() -> None:
    assert limits_of(Config(max_body_size=1024**3)).bodies.limit == 2 * 1024**3
