"""How a job's end is named, as pure functions."""

from __future__ import annotations

from qsaga.core.facts import Decision
from qsaga.core.ports import LateResult
from qsaga.core.results import JobResult, OptimiseAnswer, Unanswered
from qsaga.core.states import JobState, Layer, Rung

FALLBACK_LAYER: dict[Rung, Layer] = {
    Rung.HARDWARE: Layer.EXECUTION,
    Rung.SIMULATOR: Layer.SIMULATE,
    Rung.ANNEALING: Layer.SOLVE,
}
"""The layer whose budget bounds a rung's own work."""


def answered_state(decision: Decision, answered_by: Rung) -> JobState:
    """``completed`` if the rung that was wanted answered, else ``degraded``."""
    return JobState.COMPLETED if answered_by is decision.wanted else JobState.DEGRADED


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
