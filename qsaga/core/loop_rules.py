"""The rules of a loop: what is left, who gets how much of it, when to stop, what the answer is.

All pure: the workflow calls them on what its jobs have reported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from qsaga.core.contract import JobKey
from qsaga.core.jobs import Budgets, Circuit, Estimate, JobRequest, SessionTerms
from qsaga.core.loops import (
    Evaluation,
    Iteration,
    LoopAnswer,
    LoopGrant,
    LoopRequest,
    OptimiserSpec,
    PointShare,
    Stop,
)
from qsaga.core.results import Cost, EstimateAnswer, JobResult
from qsaga.core.states import JobState, Layer, Rung

RESERVE = 5.0
"""Seconds, or a tenth of the deadline, in which the jobs of the last iteration are closed."""
LEAST_QUANTUM = 1.0
"""Quantum seconds: a provider is asked to stop a run after whole seconds."""
POINTS_OF_A_DEADLINE = 4
"""Where the request says nothing, one job may take the deadline of the loop divided by this."""

_POINT = re.compile(r"(?P<tenant>[^/]+)/(?P<key>[^/]+):loop:[0-9]+:[0-9]+")
_ENDED_BY_PEOPLE: dict[Stop, JobState] = {
    "cancelled": JobState.CANCELLED,
    "rejected": JobState.REJECTED,
    "expired": JobState.TIMED_OUT,
}
_LAYERS = tuple(layer.value for layer in Layer if layer is not Layer.DEADLINE)


class End(NamedTuple):
    """Why a loop asks no more points."""

    stopped: Stop
    reason: str


def points(iterations: Iterable[Iteration]) -> list[Evaluation]:
    """All of them, in order."""
    return [point for iteration in iterations for point in iteration.points]


def counted(point: Evaluation) -> Cost:
    """What a point counts against the budgets: its cost, or all it may cost while that is open."""
    if point.cost.settled:
        return point.cost
    return point.cost.model_copy(
        update={
            "quantum_seconds": max(point.cost.quantum_seconds, point.share.quantum_seconds),
            "money": max(point.cost.money, point.share.money or Decimal(0)),
        }
    )


def total(iterations: Iterable[Iteration], currency: str) -> Cost:
    """What the jobs of a loop are known to have cost; ``settled`` once every account is closed."""
    costs = [point.cost for point in points(iterations)]
    return Cost(
        quantum_seconds=sum(cost.quantum_seconds for cost in costs),
        money=sum((cost.money for cost in costs), Decimal(0)),
        currency=next((cost.currency for cost in costs if cost.money), currency),
        classical_seconds=sum(cost.classical_seconds for cost in costs),
        settled=all(cost.settled for cost in costs),
    )


def within(request: LoopRequest, grant: LoopGrant | None) -> LoopRequest:
    """The request with the budgets that a person allowed the whole loop."""
    ceiling = grant.ceiling if grant else None
    if ceiling is None:
        return request
    budgets = request.budgets
    money = ceiling.money if budgets.money is None else min(budgets.money, ceiling.money)
    allowed = {
        "quantum_seconds": min(budgets.quantum_seconds, ceiling.quantum_seconds),
        "money": money,
        "currency": ceiling.currency,
    }
    return request.model_copy(update={"budgets": budgets.model_copy(update=allowed)})


def time_to_measure(request: LoopRequest) -> float:
    """Seconds that are kept for points while a person is asked about the loop."""
    deadline = request.budgets.seconds(Layer.DEADLINE)
    return request.point.deadline or deadline / POINTS_OF_A_DEADLINE


def share(
    request: LoopRequest, iterations: Sequence[Iteration], elapsed: float, count: int
) -> PointShare | End:
    """What each of ``count`` points may use, or why they are not asked any more.

    Args:
        request: the loop's.
        iterations: that have ended.
        elapsed: seconds since the loop began.
        count: points of the next iteration; they get equal shares.
    """
    budgets, most = request.budgets, request.point
    deadline = budgets.seconds(Layer.DEADLINE)
    left = deadline - elapsed
    left -= (reserve := min(RESERVE, deadline / 10))
    if left < reserve:
        return End("deadline", f"the deadline of {deadline:g} s has come")
    spent = [counted(point) for point in points(iterations)]
    seconds = _part(
        budgets.quantum_seconds - sum(cost.quantum_seconds for cost in spent),
        count,
        most.quantum_seconds,
    )
    # A loop that has used no hardware needs no quantum seconds, whatever it may use.
    known = [point.cost for point in points(iterations)]
    dearest = max((cost.quantum_seconds for cost in known), default=0.0)
    if dearest > 0 and seconds < max(LEAST_QUANTUM, dearest):
        return End(
            "budget",
            f"{seconds:.3g} quantum seconds are left for each of {count} points, "
            f"and one took up to {dearest:.3g} of the {budgets.quantum_seconds:g} in all",
        )
    money = None
    if budgets.money is not None:
        money = (budgets.money - sum((cost.money for cost in spent), Decimal(0))) / count
        if most.money is not None:
            money = min(money, most.money)
        dear = max((cost.money for cost in known), default=Decimal(0))
        if money < 0 or (dear > 0 and money < dear):
            return End(
                "budget",
                f"{money:.2f} {budgets.currency} is left for each of {count} points, "
                f"and one cost up to {dear:.2f} of the {budgets.money:.2f} in all",
            )
        money = money.quantize(Decimal("0.000001"), rounding="ROUND_DOWN")
    elif most.money is not None:
        money = most.money
    return PointShare(
        deadline=min(left, time_to_measure(request)),
        quantum_seconds=max(seconds, 0.0),
        money=money,
    )


def _part(left: float, count: int, most: float | None) -> float:
    each = left / count
    return each if most is None else min(each, most)


def point_request(
    request: LoopRequest,
    number: int,
    place: int,
    circuit: Circuit,
    session: SessionTerms | None,
    allowed: PointShare,
    *,
    anew: bool = False,
) -> JobRequest:
    """The job that measures one point: always the same for the same point of the same loop.

    Args:
        request: the loop's.
        number: of the iteration.
        place: of the point in its iteration.
        circuit: with the point's values in it.
        session: that the loop's jobs share, if any.
        allowed: what the job may use.
        anew: an earlier answer does not do.
    """
    same = {name: getattr(request, name) for name in JobRequest.model_fields}
    return JobRequest.model_validate(
        same
        | {
            "key": point_key(request.key, number, place),
            "workload": Estimate(
                circuit=circuit,
                observables=request.workload.observables,
                precision=request.workload.precision,
                mitigation=request.workload.mitigation,
            ),
            "budgets": _budgets(request.budgets, allowed),
            "session": session,
            # To measure anew is not to look up.
            "reuse": None if anew else request.reuse,
        }
    )


def point_key(key: JobKey, number: int, place: int) -> JobKey:
    """Key of the job of a point."""
    return f"{key}:loop:{number}:{place}"


def is_loop(workflow_id: str) -> bool:
    """Whether an id is that of a loop: ``tenant/loop/key``."""
    return workflow_id.count("/") == 2 and workflow_id.split("/")[1] == "loop"


def points_of(loop_id: str) -> str:
    """What the ids of the jobs of a loop begin with."""
    tenant, _, key = loop_id.split("/")
    return f"{tenant}/{key}:loop:"


def loop_of(job_id: str) -> str | None:
    """The loop that a job measured a point for; None if it is no such job."""
    found = _POINT.fullmatch(job_id)
    return f"{found['tenant']}/loop/{found['key']}" if found else None


def _budgets(whole: Budgets, allowed: PointShare) -> Budgets:
    layers = {name: getattr(whole, name) for name in _LAYERS}
    cut = {
        name: min(seconds, allowed.deadline)
        for name, seconds in layers.items()
        if seconds is not None
    }
    return Budgets(
        **cut,
        deadline=allowed.deadline,
        quantum_seconds=allowed.quantum_seconds,
        money=allowed.money,
        currency=whole.currency,
    )


def measured(asked: Evaluation, result: JobResult) -> Evaluation:
    """The point with what its job ended with."""
    answer, provenance, why = result.answer, result.provenance, result.unanswered
    found = answer if isinstance(answer, EstimateAnswer) else None
    return asked.model_copy(
        update={
            "value": found.values[0] if found else None,
            "standard_error": found.standard_errors[0] if found else None,
            "state": result.state,
            "source": provenance.source if provenance else None,
            "backend": provenance.backend if provenance else None,
            "provider_job_ids": provenance.provider_job_ids if provenance else (),
            "cost": result.cost,
            # Admitted and yet refused there: for want of budget, and nothing else.
            "short": why is not None
            and result.state is JobState.REJECTED
            and why.layer is Layer.ADMIT
            and result.decision is not None,
            "reason": why.reason if why else "",
        }
    )


def has_converged(iterations: Sequence[Iteration], spec: OptimiserSpec) -> bool:
    """Whether the search gets no lower: see ``OptimiserSpec.tolerance``."""
    if spec.tolerance is None:
        return False
    means = [
        sum(values) / len(values)
        for iteration in iterations
        if iteration.purpose == "search"
        and (values := [p.value for p in iteration.points if p.value is not None])
    ]
    span = spec.patience
    if len(means) < 2 * span:
        return False
    before, now = means[-2 * span : -span], means[-span:]
    return sum(before) / span - sum(now) / span < spec.tolerance


def best_point(iterations: Iterable[Iteration]) -> Evaluation | None:
    """The point of the lowest value, the first of equals."""
    found = [point for point in points(iterations) if point.value is not None]
    return min(found, key=lambda point: point.value or 0.0, default=None)


def best(iterations: Sequence[Iteration], names: Sequence[str]) -> LoopAnswer | None:
    """The answer so far: the lowest value that was confirmed, else the lowest of all."""
    confirmed = [one for one in iterations if one.purpose == "confirm"]
    for some in (confirmed, iterations):
        point = best_point(some)
        if some is confirmed and point is not None and point.source is Rung.CACHED:
            continue
        if point is not None and point.value is not None and point.source is not None:
            return LoopAnswer(
                value=point.value,
                standard_error=point.standard_error or 0.0,
                parameters=dict(zip(names, point.parameters, strict=True)),
                iteration=next(one.number for one in some if point in one.points),
                job_id=point.job_id,
                source=point.source,
                confirmed=some is confirmed,
            )
    return None


def failed(iteration: Iteration) -> End:
    """Why a loop ends with an iteration of which points have no value."""
    lost = [point for point in iteration.points if point.value is None]
    return End(
        "budget" if all(point.short for point in lost) else "failed",
        f"{len(lost)} of {len(iteration.points)} points of iteration {iteration.number} have no "
        f"value: {lost[0].reason}",
    )


def sources(iterations: Iterable[Iteration]) -> dict[Rung, int]:
    """How many points each rung answered."""
    return dict(Counter(p.source for p in points(iterations) if p.source is not None))


def final_state(iterations: Sequence[Iteration], end: End, *, answered: bool) -> JobState:
    """The state in which a loop ends.

    ``completed`` is a search that ran its course with every point as it was asked; ``degraded``
    has an answer all the same.
    """
    if end.stopped in _ENDED_BY_PEOPLE:
        return _ENDED_BY_PEOPLE[end.stopped]
    if not answered:
        asked = points(iterations)
        if asked and all(point.state is JobState.REJECTED for point in asked):
            return JobState.REJECTED
        return JobState.TIMED_OUT if end.stopped == "deadline" else JobState.FAILED
    whole = end.stopped in ("converged", "iterations") and all(
        point.state is JobState.COMPLETED for point in points(iterations)
    )
    return JobState.COMPLETED if whole else JobState.DEGRADED
