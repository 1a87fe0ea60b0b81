"""States, waiting times, error texts, late results."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsaga.core.errors import BY_NAME, InvalidRequest, QsagaError, from_failure
from qsaga.core.jobs import Budgets
from qsaga.core.states import FINAL_STATES, TRANSITIONS, JobState, Layer, may_follow
from qsaga.core.timing import LONGEST_POLL, fallback_reserve, in_time, poll_delay, solver_seconds


def test_every_state_is_reachable_and_every_state_can_end() -> None:
    assert set(TRANSITIONS) == set(JobState)
    reached, edge = {JobState.RECEIVED}, {JobState.RECEIVED}
    while edge:
        edge = {then for state in edge for then in TRANSITIONS[state]} - reached
        reached |= edge
    assert reached == set(JobState)
    for state in set(JobState) - FINAL_STATES:
        assert may_follow(state, JobState.FAILED)
        assert not state.final
    for state in FINAL_STATES:
        assert TRANSITIONS[state] == frozenset()


@given(waited=st.floats(0, 1e6), remaining=st.none() | st.floats(0, 1e6))
def test_a_poll_never_comes_after_the_budget(waited: float, remaining: float | None) -> None:
    delay = poll_delay(waited, remaining)
    assert 0 < delay <= LONGEST_POLL
    if remaining is not None and remaining > 0.2:
        assert delay < remaining


def test_a_look_in_an_hour_leaves_a_minute_of_a_budget_of_an_hour() -> None:
    assert in_time(3600.0, 3600.0) == 3540.0
    assert in_time(3600.0, 36000.0) == 3600.0
    assert in_time(3600.0, 1.0) == 0.9
    assert in_time(3600.0, None) == 3600.0


def test_eight_hours_take_few_polls() -> None:
    waited, polls = 0.0, 0
    while waited < 8 * 3600:
        waited += poll_delay(waited, None)
        polls += 1
    assert polls < 200


@given(deadline=st.floats(0.5, 1e5), left=st.floats(0.1, 1e5))
def test_the_fallback_always_has_time(deadline: float, left: float) -> None:
    budgets = Budgets(deadline=deadline)
    assert fallback_reserve(budgets, Layer.SOLVE) <= 0.8 * deadline + 1e-9
    assert 0.05 <= solver_seconds(budgets, left) <= max(0.05, left)


def test_errors_survive_a_process_boundary() -> None:
    error = InvalidRequest("budgets.queue", "-1 is too small", "above 0, at most 30 days")
    again = from_failure("InvalidRequest", str(error))
    assert isinstance(again, InvalidRequest)
    assert (again.field, again.problem, again.allowed) == (
        error.field,
        error.problem,
        error.allowed,
    )
    bare = from_failure("InvalidRequest", str(InvalidRequest("key", "is taken: twice")))
    assert isinstance(bare, InvalidRequest)
    assert (bare.field, bare.problem, bare.allowed) == ("key", "is taken: twice", "")
    for name, kind in BY_NAME.items():
        assert type(from_failure(name, "a: b")) is kind
    assert type(from_failure("Strange", "x")) is QsagaError


@pytest.mark.parametrize("kind", list(BY_NAME.values()))
def test_every_error_says_how_it_leaves_the_house(kind: type[QsagaError]) -> None:
    assert kind.exit_code != 0
    assert kind.http_status >= 400
