"""How long a step may take beside the deadline."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qsaga.core.jobs import Budgets
from qsaga.core.states import Layer
from qsaga.core.timing import (
    SOLVER_SLACK,
    checking_reserve,
    closing_reserve,
    closing_seconds,
    fallback_reserve,
    solver_limit,
    solver_seconds,
)


@given(deadline=st.floats(4, 86400), solve=st.floats(0.1, 1.0))
def test_a_solver_after_hardware_has_time_to_start_and_the_answer_to_be_checked(
    deadline: float, solve: float
) -> None:
    budgets = Budgets(deadline=deadline, solve=solve)
    left = fallback_reserve(budgets, Layer.SOLVE)
    seconds = solver_seconds(budgets, left)
    limit = solver_limit(budgets, left, seconds)
    assert seconds + 0.25 <= limit <= seconds + SOLVER_SLACK
    assert left - limit >= checking_reserve(budgets) / 2 - 1e-6


@given(left=st.floats(0.01, 86400), solve=st.floats(0.1, 100.0))
def test_a_solver_is_lost_before_the_deadline(left: float, solve: float) -> None:
    budgets = Budgets(deadline=86400.0, solve=solve)
    seconds = solver_seconds(budgets, left)
    if seconds > 0.05:  # less is not worth a solver
        assert seconds < solver_limit(budgets, left, seconds) <= left


def test_a_solver_with_time_has_all_of_its_slack() -> None:
    assert solver_limit(Budgets(solve=5.0), 80000.0, 5.0) == 5.0 + SOLVER_SLACK


@given(deadline=st.floats(0.2, 86400), used=st.floats(0, 1))
def test_an_answer_is_written_down_before_the_deadline(deadline: float, used: float) -> None:
    budgets = Budgets(deadline=deadline)
    checked = used * (deadline - closing_reserve(budgets))
    assert 0 < closing_seconds(budgets, deadline - checked) < deadline - checked
