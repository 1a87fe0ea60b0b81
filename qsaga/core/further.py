"""More runs of one job: what is left to spend on another, and when an answer needs more shots."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

from qsaga.core.approval import Ceiling
from qsaga.core.jobs import Budgets, Estimate, Optimise, Workload
from qsaga.core.ports import CircuitResult, RunSpec
from qsaga.core.results import Answer, Cost, EstimateAnswer, SampleAnswer

TOLERANCE = 1.05
"""A standard error that is over the asked one by no more than this is good enough: it is itself
an estimate."""


def further_ceiling(first: Ceiling, budgets: Budgets, spent: Iterable[Cost]) -> Ceiling | None:
    """The most that one more run may be charged; None if less than a whole second is left.

    Args:
        first: of a single run under the same budgets.
        budgets: of the job; they hold for all of its runs together.
        spent: what its other runs have cost, all of them settled.
    """
    costs = tuple(spent)
    price = first.money / Decimal(str(first.quantum_seconds)) if first.quantum_seconds else 0
    left = budgets.quantum_seconds - sum(cost.quantum_seconds for cost in costs)
    if budgets.money is not None and price:
        money = budgets.money - sum((cost.money for cost in costs), Decimal(0))
        left = min(left, float(money / price))
    seconds = math.floor(min(left, first.quantum_seconds))
    if seconds < 1:
        return None
    return Ceiling(quantum_seconds=seconds, money=price * seconds, currency=first.currency)


def topped_up(workload: Workload, answer: Answer, spec: RunSpec) -> RunSpec | None:
    """The run that is missing for what was asked; None if the answer is good enough.

    A sample needs its shots. An estimate needs its precision p: with standard error s so far, the
    other run must reach t with 1/p² = 1/s² + 1/t² (inverse-variance weighting).
    """
    if isinstance(answer, SampleAnswer) and not isinstance(workload, Optimise | Estimate):
        missing = workload.shots - answer.shots
        return spec.model_copy(update={"shots": missing}) if missing > 0 else None
    if not (isinstance(answer, EstimateAnswer) and isinstance(workload, Estimate)):
        return None
    wanted, reached = workload.precision, max(answer.standard_errors, default=0.0)
    if reached <= wanted * TOLERANCE or not math.isfinite(reached):
        return None
    error = 1 / math.sqrt(1 / wanted**2 - 1 / reached**2)
    # What was asked for gave ``reached``: ask for as much less than the aim.
    asked = error * (spec.precision or wanted) / reached
    return spec.model_copy(
        update={"precision": min(asked, 1.0), "shots": max(1, math.ceil(1 / asked**2))}
    )


def merged(first: CircuitResult, second: CircuitResult) -> CircuitResult:
    """Two results of the same circuit as one: counts added, values by inverse-variance weights.

    Raises ValueError where they are not of the same circuit.
    """
    if first.verb != second.verb or len(first.values) != len(second.values):
        raise ValueError("the two results are not of the same circuit")
    if set(first.counts) != set(second.counts):
        raise ValueError("the two results have different registers")
    counts = {
        register: _added(found, second.counts[register]) for register, found in first.counts.items()
    }
    pairs = [
        _weighted(*pair)
        for pair in zip(
            first.values,
            first.standard_errors,
            second.values,
            second.standard_errors,
            strict=True,
        )
    ]
    return CircuitResult(
        verb=first.verb,
        shots=first.shots + second.shots,
        counts=counts,
        values=tuple(value for value, _ in pairs),
        standard_errors=tuple(error for _, error in pairs),
        applied=first.applied if first.applied == second.applied else None,
    )


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {bits: one.get(bits, 0) + other.get(bits, 0) for bits in sorted({*one, *other})}


def _weighted(a: float, sa: float, b: float, sb: float) -> tuple[float, float]:
    if not sa or not sb:  # known exactly, as far as that run can tell
        return (b, sb) if not sb and sa else (a, sa)
    weight_a, weight_b = 1 / sa**2, 1 / sb**2
    whole = weight_a + weight_b
    return (a * weight_a + b * weight_b) / whole, 1 / math.sqrt(whole)
