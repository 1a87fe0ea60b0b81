"""What a loop asks for, and its rules: what is left, who gets how much, when it ends."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Circuit, JobRequest
from qsaga.core.loop_rules import (
    End,
    best,
    counted,
    is_loop,
    loop_of,
    point_key,
    point_request,
    points_of,
    share,
)
from qsaga.core.loops import (
    Iteration,
    LoopCarry,
    LoopInput,
    LoopRequest,
    PointShare,
)
from qsaga.core.states import Rung
from qsaga.core.validation import invalid_request
from tests.support.loops import SHARE, costing, iteration, loop, point

CIRCUIT = Circuit(format="qpy", source="eA==")

amounts = st.floats(0, 200, allow_nan=False)


# --- what is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"optimiser": {"iterations": 0}}, "optimiser.iterations"),
        ({"optimiser": {"name": "No Name"}}, "optimiser.name"),
        ({"optimiser": {"tolerance": 0}}, "optimiser.tolerance"),
        ({"observable": {"Z": 1.0, "ZZ": 1.0}}, "workload.observables.0"),
        ({"observable": {}}, "workload.observables.0"),
        ({"observable": {"ZQ": 1.0}}, "workload.observables.0.ZQ"),
        ({"parameters": ["a", "a"]}, "parameters"),
        ({"parameters": ["a", "b"], "initial": [1.0]}, "initial"),
        ({"initial": [float("nan")]}, "initial.0"),
        ({"key": "k" * 101}, "key"),
        ({"key": "a/b"}, "key"),
        ({"route": "annealing"}, "request"),
        ({"precision": 0}, "workload.precision"),
        ({"point": {"deadline": -1}}, "point.deadline"),
        ({"budgets": {"deadline": 10, "queue": 20}}, "budgets"),
        ({"speed": 1}, "speed"),
    ],
)
def test_what_cannot_be_a_loop_is_refused_by_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        loop(**changes)
    assert invalid_request(refused.value).field == field


def test_two_observables_are_refused() -> None:
    body = loop().model_dump(mode="json")
    body["workload"]["observables"] *= 2
    with pytest.raises(ValidationError) as refused:
        LoopRequest.model_validate(body)
    error: InvalidRequest = invalid_request(refused.value)
    assert (error.field, error.allowed) == ("workload.observables", "one, to be minimised")


def test_no_job_has_the_id_of_a_loop_and_no_loop_of_another() -> None:
    request = loop(tenant="acme", key="h2")
    assert request.job_id == "acme/loop/h2"
    with pytest.raises(ValidationError):
        JobRequest.model_validate(
            {"tenant": "acme", "key": "loop/h2", "workload": request.workload.model_dump()}
        )


@given(
    keys=st.lists(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", fullmatch=True),
        min_size=2,
        max_size=2,
        unique=True,
    ),
    numbers=st.tuples(*[st.integers(0, 10_100)] * 4),
)
def test_jobs_of_different_loops_have_different_keys(
    keys: list[str], numbers: tuple[int, ...]
) -> None:
    first = point_key(keys[0], *numbers[:2])
    assert first != point_key(keys[1], *numbers[2:])
    assert len(first) <= 128
    loop_id = f"acme/loop/{keys[0]}"
    assert is_loop(loop_id) and not is_loop(f"acme/{first}")
    assert loop_of(f"acme/{first}") == loop_id and loop_of(f"acme/{keys[0]}") != loop_id
    assert f"acme/{first}".startswith(points_of(loop_id))
    nested = point_key(first, *numbers[2:])
    assert nested != first


def test_what_a_loop_asks_is_in_its_hash() -> None:
    request = loop(key="a")
    assert loop(key="b").payload_hash() == request.payload_hash()
    for changes in (
        {"initial": [0.1]},
        {"optimiser": {"name": "spsa"}},
        {"parameters": ["theta"]},
        {"point": {"deadline": 5}},
        {"share_session": False},
    ):
        assert loop(key="a", **changes).payload_hash() != request.payload_hash()


def test_a_request_is_the_input_of_the_workflow_as_it_is() -> None:
    request = loop(key="a", session={"key": "night"}, requested_by="ada")
    plain = LoopInput.model_validate_json(request.model_dump_json())
    assert plain.carry is None
    assert plain.request == request
    carry = LoopCarry(
        began="2026-11-21T08:00:00Z",
        plan_state={"k": 1},
        iterations=(iteration(1.0),),
        parameters=("theta",),
        software={},
    )
    again = LoopInput.model_validate_json(LoopInput.carried(request, carry).model_dump_json())
    assert (again.request, again.carry) == (request, carry)
    assert again.request.payload_hash() == request.payload_hash()


# --- what is left --------------------------------------------------------------------------------


@given(
    spent=st.lists(amounts, max_size=5),
    elapsed=st.floats(0, 700),
    count=st.integers(1, 50),
    settled=st.booleans(),
)
def test_no_iteration_is_given_more_than_is_left(
    spent: list[float], elapsed: float, count: int, settled: bool
) -> None:
    request = loop(budgets={"deadline": 600, "quantum_seconds": 300, "money": "100"})
    before = [costing(seconds, seconds / 4, settled=settled) for seconds in spent]
    allowed = share(request, before, elapsed, count)
    if isinstance(allowed, End):
        assert allowed.stopped in ("deadline", "budget")
        assert allowed.reason
        return
    used = [counted(one.points[0]) for one in before]
    assert allowed.money is not None
    left = max(300 - sum(cost.quantum_seconds for cost in used), 0)
    assert allowed.quantum_seconds * count <= left + 1e-6
    assert allowed.money * count <= 100 - sum(cost.money for cost in used)
    assert 0 < allowed.deadline <= 600 - elapsed
    job = point_request(request, 3, 1, CIRCUIT, None, allowed)
    assert job.budgets.quantum_seconds == allowed.quantum_seconds


def test_an_open_account_counts_all_that_it_may_come_to() -> None:
    assert counted(costing(2, settled=False).points[0]).quantum_seconds == SHARE.quantum_seconds
    assert counted(costing(2, settled=False).points[0]).money == SHARE.money
    assert counted(costing(12, settled=False).points[0]).quantum_seconds == 12
    assert counted(costing(2).points[0]).quantum_seconds == 2


def test_a_loop_ends_before_it_cannot_pay_for_a_point() -> None:
    request = loop(budgets={"deadline": 600, "quantum_seconds": 10})
    assert isinstance(share(request, [costing(3)], 0, 2), PointShare)
    ended = share(request, [costing(3)], 0, 3)
    assert isinstance(ended, End)
    assert ended.stopped == "budget"
    rich = loop(budgets={"deadline": 600, "quantum_seconds": 1000, "money": "10"})
    assert isinstance(share(rich, [costing(3, 5)], 0, 1), PointShare)
    assert isinstance(share(rich, [costing(3, 5.01)], 0, 1), End)


def test_a_loop_on_the_simulator_needs_no_quantum_seconds() -> None:
    request = loop(budgets={"deadline": 600, "quantum_seconds": 0})
    allowed = share(request, [costing(0)], 0, 4)
    assert isinstance(allowed, PointShare)
    assert allowed.quantum_seconds == 0


def test_the_most_of_a_point_is_kept() -> None:
    most = {"deadline": 20, "quantum_seconds": 2, "money": "1.5"}
    request = loop(point=most, budgets={"deadline": 600, "quantum_seconds": 600})
    assert share(request, [], 0, 2) == PointShare(
        deadline=20, quantum_seconds=2, money=Decimal("1.5")
    )
    assert share(request, [], 585, 2) == PointShare(
        deadline=10, quantum_seconds=2, money=Decimal("1.5")
    )


def test_the_share_of_a_point_does_not_depend_on_when_it_is_asked() -> None:
    request = loop()
    assert share(request, [], 1.0, 2) == share(request, [], 2.0, 2)


# --- its jobs ------------------------------------------------------------------------------------


def test_a_point_is_a_job_with_all_that_the_loop_says() -> None:
    request = loop(
        key="h2",
        tenant="acme",
        backend="ibm_torino",
        route="hardware",
        sensitivity="public",
        regions=["eu-de"],
        template="vqe",
        experiment="night",
        dataset="v1",
        requested_by="ada",
        seed=11,
        budgets={"deadline": 600, "queue": 500, "execution": 30, "quantum_seconds": 600},
    )
    job = point_request(request, 4, 1, CIRCUIT, request.own_session(), SHARE)
    assert type(job) is JobRequest
    assert job.job_id == "acme/h2:loop:4:1"
    assert job.workload.kind == "estimate"
    same = ("backend", "route", "sensitivity", "regions", "template", "experiment", "dataset")
    for name in (*same, "requested_by", "seed", "environment"):
        assert getattr(job, name) == getattr(request, name)
    assert job.budgets.queue == SHARE.deadline, "no layer outlasts the job"
    assert job.budgets.execution == 30
    assert job.session is not None


def test_what_is_measured_anew_is_not_looked_up() -> None:
    request = loop(reuse=3600)
    found = point_request(request, 0, 0, CIRCUIT, None, SHARE)
    anew = point_request(request, 1, 0, CIRCUIT, None, SHARE, anew=True)
    assert (found.reuse, anew.reuse) == (3600, None)
    looked_up = Iteration(number=1, purpose="confirm", points=(point(0.5, source=Rung.CACHED),))
    answer = best([iteration(1.0), looked_up], ["theta"])
    assert answer is not None
    assert not answer.confirmed


def test_loops_have_sessions_of_their_own() -> None:
    keys = {loop(key=key, tenant=who).own_session().key for key in "ab" for who in ("x", "y")}
    assert len(keys) == 4
