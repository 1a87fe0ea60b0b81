"""How a job's end is named, as pure functions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from qsaga.core.facts import Decision
from qsaga.core.ports import LateResult
from qsaga.core.results import (
    Answer,
    Comparison,
    Contender,
    JobResult,
    OptimiseAnswer,
    Unanswered,
)
from qsaga.core.states import CLASSICAL_LAYER, HARDWARE_RUNGS, JobState, Layer, Rung

FALLBACK_LAYER: dict[Rung, Layer] = {
    Rung.HARDWARE: Layer.EXECUTION,
    Rung.OTHER_BACKEND: Layer.EXECUTION,
    **CLASSICAL_LAYER,
    Rung.CACHED: Layer.RETRIEVAL,
    Rung.MANUAL: Layer.APPROVAL,
}
"""The layer whose budget bounds a rung's own work."""

Sense = Literal["maximise", "minimise"]
BEST_SERVED = "the best verified objective; of equal ones the first"
"""By which rule one of several answers is served; see ``better``."""


def answered_state(decision: Decision, answered: Collection[Rung]) -> JobState:
    """``completed`` if the rung that was wanted answered, else ``degraded``.

    Another backend is hardware as well. A hedge may have found better: the hardware that was
    wanted has answered all the same.
    """
    wanted = HARDWARE_RUNGS if decision.wanted in HARDWARE_RUNGS else {decision.wanted}
    return JobState.DEGRADED if wanted.isdisjoint(answered) else JobState.COMPLETED


def better(answer: Answer, than: Answer) -> bool:
    """Whether an answer is to be served in place of another: by its verified objective."""
    if not (isinstance(answer, OptimiseAnswer) and isinstance(than, OptimiseAnswer)):
        return False
    gain = answer.quality.objective - than.quality.objective
    return gain > 0 if answer.quality.sense == "maximise" else gain < 0


def compare(beside: Sequence[Contender], sense: Sense, served: Rung) -> Comparison | None:
    """The best of hardware beside the best of our own machines; None if one of them is missing.

    Args:
        beside: every answer that stood the check, in the order in which they came.
        sense: of the objective.
        served: the rung whose answer is served.
    """
    sign = 1 if sense == "maximise" else -1

    def best(hardware: bool) -> Contender | None:
        found = [each for each in beside if (each.rung in HARDWARE_RUNGS) is hardware]
        return max(found, key=lambda each: sign * each.objective, default=None)

    quantum, classical = best(True), best(False)
    if quantum is None or classical is None:
        return None
    return Comparison(
        hardware=quantum.objective,
        classical=classical.objective,
        classical_rung=classical.rung,
        gain=sign * (quantum.objective - classical.objective),
        served=served,
        rule=BEST_SERVED,
        contenders=tuple(beside),
    )


def unanswered_state(
    why: Unanswered, *, timed_out: bool, cancelled: bool, refused: bool
) -> JobState:
    """The state of a job that ends without an answer: the most specific cause wins."""
    if cancelled:
        return JobState.CANCELLED
    if refused:
        return JobState.REJECTED
    if timed_out or why.layer is Layer.DEADLINE:
        return JobState.TIMED_OUT
    return JobState.FAILED


def compared(late: LateResult, served: JobResult) -> LateResult:
    """A late hardware result beside the answer that was served: difference and words."""
    answer = served.answer
    source = served.provenance.source.value if served.provenance else "no rung"
    if not isinstance(answer, OptimiseAnswer) or late.objective is None:
        return late.model_copy(update={"comparison": f"served from {source}; not comparable"})
    was = answer.quality.objective
    difference = late.objective - was
    gain = difference if answer.quality.sense == "maximise" else -difference
    verdict = "the same" if gain == 0 else "better" if gain > 0 else "worse"
    return late.model_copy(
        update={
            "served_objective": was,
            "difference": difference,
            "comparison": f"late hardware {late.objective:g} is {verdict} than {was:g} "
            f"served from {source}".replace("the same than", "the same as"),
        }
    )
