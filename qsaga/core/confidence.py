"""What is claimed of an answer, from its evidence alone: never more than is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from qsaga.core.contract import Contract
from qsaga.core.results import (
    Answer,
    Confidence,
    EstimateAnswer,
    JobResult,
    OptimiseAnswer,
    SampleAnswer,
)
from qsaga.core.states import HARDWARE_RUNGS, JobState, Rung

MOST_LOOSENED = 1e-9
"""What the arithmetic of a model may be off by counts as rounding up to this share of a value: far
more than it comes to where a model fits its numbers, and less than anybody calls a difference.
"""

Z_95 = 1.959963984540054
"""Of the normal distribution, for an interval that holds 95 times of 100."""

GREEDY = "greedy construction"
PROBLEM = "problem"
"""Who says a bound: the problem's own, computed from the input."""


class Proof(Contract):
    """What a solver has shown of a binary model: no assignment has less energy than ``bound``.

    ``by`` is the solver with its version, ``complete`` says that it searched to the end. What its
    own arithmetic may be off by is taken off ``bound`` already: of a complete search the least
    energy is above ``bound`` by no more than ``loosened``.
    """

    bound: float
    by: str
    complete: bool = False
    loosened: float = Field(default=0.0, ge=0)


@dataclass(frozen=True)
class Bound:
    """A value that no answer can beat, and who says so.

    Args:
        value: of the objective.
        by: who says so.
        rounding: what this value and that of an answer, as computed, may be off by together; 0
            where both are exact.
        loosened: what was taken off it for the arithmetic of a model.
    """

    value: float
    by: str
    rounding: float = 0.0
    loosened: float = 0.0

    def room(self, value: float) -> float:
        """By how much an answer's value may differ from it and yet count as equal to it."""
        share = MOST_LOOSENED * min(abs(value), abs(self.value))
        return self.rounding + min(self.loosened, share)


@dataclass(frozen=True)
class Claim:
    """Fields of ``Quality``: a class and what it rests on."""

    confidence: Confidence
    bound: float | None = None
    bound_by: str | None = None
    gap: float | None = None
    baseline: float | None = None
    baseline_by: str | None = None
    gain: float | None = None


def claim(
    value: float,
    sense: Literal["maximise", "minimise"],
    *,
    bounds: Iterable[Bound] = (),
    searched: bool = False,
    baseline: float | None = None,
) -> Claim:
    """The strongest class that a feasible answer's evidence carries.

    Args:
        value: objective of the answer.
        sense: of the objective.
        bounds: the tightest that the value does not disprove is taken.
        searched: a solver looked for a bound; without, a loose bound is told and not claimed.
        baseline: objective of a greedy construction.
    """
    sign = 1 if sense == "maximise" else -1
    room = {bound: sign * (bound.value - value) for bound in bounds}
    # A bound that the value beats is wrong, so it is evidence of nothing.
    sound = {bound: gap for bound, gap in room.items() if gap >= -bound.room(value)}
    tightest = min(sound, key=lambda bound: sound[bound], default=None)
    gap = None if tightest is None else max(0.0, sound[tightest])
    gain = None if baseline is None else sign * (value - baseline)
    return Claim(
        confidence=_class(value, tightest, gap, gain, searched=searched),
        bound=tightest.value if tightest else None,
        bound_by=tightest.by if tightest else None,
        gap=gap,
        baseline=baseline,
        baseline_by=None if baseline is None else GREEDY,
        gain=gain,
    )


def _class(
    value: float,
    bound: Bound | None,
    gap: float | None,
    gain: float | None,
    *,
    searched: bool,
) -> Confidence:
    if bound is not None and gap is not None:
        if gap <= bound.room(value):
            return Confidence.PROVEN_OPTIMAL
        if searched:
            return Confidence.BOUNDED_GAP
    if gain is not None and gain > 0:
        return Confidence.BETTER_THAN_BASELINE
    return Confidence.FEASIBLE


def half_width(counts: Mapping[str, int], shots: int) -> float | None:
    """Of the widest 95 % interval of an outcome's frequency (Wilson 1927); None without shots.

    Never 0: of a million shots that are all alike not everything is known either.
    """
    if shots <= 0:
        return None
    square = Z_95**2
    variances = (
        count * (shots - count) / shots + square / 4
        for count in (*counts.values(), 0)
        if 0 <= count <= shots
    )
    return Z_95 / (shots + square) * math.sqrt(max(variances))


def unverified(answer: SampleAnswer | EstimateAnswer) -> SampleAnswer | EstimateAnswer:
    """An answer behind which nothing was run: neither its class nor its evidence stands."""
    claims: dict[str, object] = {"confidence": Confidence.UNVERIFIED}
    if isinstance(answer, SampleAnswer):
        claims["half_width"] = None
    return answer.model_copy(update=claims)


def confidence_of(answer: Answer) -> Confidence:
    """The class of any answer."""
    return answer.quality.confidence if isinstance(answer, OptimiseAnswer) else answer.confidence


def downgrade(result: JobResult) -> str:
    """What an answer lacks because another rung gave it than was wanted; empty if none did."""
    decision, source, answer = result.decision, result.provenance, result.answer
    if result.state is not JobState.DEGRADED or not (decision and source and answer):
        return ""
    told = f"{source.source.value} answered in place of {decision.wanted.value}"
    claimed = confidence_of(answer)
    if claimed is Confidence.UNVERIFIED:
        return f"{told}: nothing was run that could be checked"
    if decision.wanted is Rung.EXACT and claimed is not Confidence.PROVEN_OPTIMAL:
        return f"{told}: without a proof"
    if source.source is Rung.SIMULATOR and decision.wanted in HARDWARE_RUNGS:
        return f"{told}: of a machine without noise"
    return told
