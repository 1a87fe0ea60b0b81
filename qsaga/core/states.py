"""The lifecycle of a job, as one table."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands. Final states end it."""

    RECEIVED = "received"
    AWAITING_APPROVAL = "awaiting_approval"
    ADMITTED = "admitted"
    ENCODED = "encoded"
    COMPILED = "compiled"
    SUBMITTED = "submitted"
    QUEUED = "queued"
    RUNNING = "running"
    POSTPROCESSING = "postprocessing"
    COMPLETED = "completed"
    DEGRADED = "degraded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self in FINAL_STATES


_S = JobState

FINAL_STATES = frozenset(
    {_S.COMPLETED, _S.DEGRADED, _S.FAILED, _S.TIMED_OUT, _S.REJECTED, _S.CANCELLED}
)

_ENDINGS = frozenset({_S.FAILED, _S.TIMED_OUT, _S.CANCELLED, _S.QUARANTINED})
# A rung that fails hands over to the next, so the hardware states may fall back to ENCODED;
# a fast backend may be seen only after it has left a state, so steps forward may be skipped.
_HARDWARE = (_S.COMPILED, _S.SUBMITTED, _S.QUEUED, _S.RUNNING)
HARDWARE_STATES = frozenset(_HARDWARE)
"""Where a hardware run can stand: a job takes these over from its run."""

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    _S.RECEIVED: _ENDINGS | {_S.ADMITTED, _S.AWAITING_APPROVAL, _S.REJECTED},
    # Before the ladder a person allows the job, on its last rung he answers it.
    _S.AWAITING_APPROVAL: _ENDINGS | {_S.ADMITTED, _S.REJECTED, _S.ENCODED, _S.POSTPROCESSING},
    _S.ADMITTED: _ENDINGS | {_S.ENCODED, _S.REJECTED},
    _S.ENCODED: _ENDINGS | {*_HARDWARE, _S.POSTPROCESSING, _S.AWAITING_APPROVAL},
    **{
        state: _ENDINGS | {*_HARDWARE[index + 1 :], _S.ENCODED, _S.POSTPROCESSING}
        for index, state in enumerate(_HARDWARE)
    },
    _S.POSTPROCESSING: _ENDINGS | {_S.ENCODED, _S.COMPLETED, _S.DEGRADED},
    _S.QUARANTINED: frozenset({_S.ADMITTED, _S.FAILED, _S.CANCELLED}),
    **{state: frozenset() for state in FINAL_STATES},
}
"""Which state may follow which. Nothing follows a final state."""


def may_follow(now: JobState, then: JobState) -> bool:
    """Whether a job in ``now`` may go to ``then``."""
    return then in TRANSITIONS[now]


class Layer(StrEnum):
    """A part of a job's life that has a time budget of its own."""

    ADMIT = "admit"
    APPROVAL = "approval"
    ENCODE = "encode"
    COMPILE = "compile"
    SUBMIT = "submit"
    QUEUE = "queue"
    EXECUTION = "execution"
    RETRIEVAL = "retrieval"
    SIMULATE = "simulate"
    SOLVE = "solve"
    POSTPROCESS = "postprocess"
    DEADLINE = "deadline"


class Rung(StrEnum):
    """One way of answering a job."""

    HARDWARE = "hardware"
    OTHER_BACKEND = "other_backend"
    SIMULATOR = "simulator"
    ANNEALING = "annealing"
    EXACT = "exact"
    CACHED = "cached"
    LEARNED = "learned"
    MANUAL = "manual"


HARDWARE_RUNGS = frozenset({Rung.HARDWARE, Rung.OTHER_BACKEND})
"""Rungs that submit to a provider."""
OPTIMISE_RUNGS = frozenset({Rung.ANNEALING, Rung.EXACT})
"""Rungs that need a binary quadratic model: they answer optimise only."""
CIRCUIT_RUNGS = HARDWARE_RUNGS | {Rung.SIMULATOR}
"""Rungs that run a circuit."""
COMPUTED = CIRCUIT_RUNGS | OPTIMISE_RUNGS
"""Rungs that compute an answer from the input."""
CLASSICAL_LAYER: dict[Rung, Layer] = {
    Rung.SIMULATOR: Layer.SIMULATE,
    Rung.ANNEALING: Layer.SOLVE,
    Rung.EXACT: Layer.SOLVE,
    Rung.LEARNED: Layer.SOLVE,
}
"""The layer whose budget bounds the time that a rung computes on our own machines."""
