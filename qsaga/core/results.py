"""What a job ends with: a state, an answer, and where both came from."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from qsaga.core.applied import Applied
from qsaga.core.approval import ApprovalRecord
from qsaga.core.contract import ArtefactRef, Contract
from qsaga.core.facts import Decision
from qsaga.core.lineage import Lineage
from qsaga.core.states import JobState, Layer, Rung


class Confidence(StrEnum):
    """How far an answer can be trusted, each a claim with its evidence in ``Quality``."""

    PROVEN_OPTIMAL = "proven_optimal"
    BOUNDED_GAP = "bounded_gap"
    BETTER_THAN_BASELINE = "better_than_baseline"
    FEASIBLE = "feasible"
    INTERVAL = "interval"
    SAMPLED = "sampled"
    UNVERIFIED = "unverified"


class Histogram(Contract):
    """Counts of objective values, as found before any polish.

    ``edges`` has one entry more than ``counts``; bin i is [edges[i], edges[i+1]).
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Quality(Contract):
    """What is known of an optimise answer, in the unit of the objective.

    Args:
        feasible: the answer meets every constraint of the input.
        objective: recomputed from the input, never from the model.
        sense: whether larger or smaller is better.
        raw_best: best feasible objective among the samples as measured; None if none was.
        raw_mean: mean objective of the samples as measured, over those that are feasible.
        feasible_share: share of the samples as measured that are feasible, 0 to 1.
        baseline: objective of a greedy classical construction on the same input.
        baseline_by: what that construction is called.
        gain: by how much the answer is better than the baseline, negative where it is worse.
        bound: no answer can be better than this; None if no bound is known.
        bound_by: who says so: ``problem``, or a solver with its version.
        gap: how far the bound is from ``objective``: nothing better by more than that exists.
        histogram: objectives of the samples as measured.
    """

    feasible: bool
    objective: float
    sense: Literal["maximise", "minimise"]
    raw_best: float | None = None
    raw_mean: float | None = None
    feasible_share: Annotated[float, Field(ge=0, le=1)] | None = None
    baseline: float | None = None
    baseline_by: str | None = None
    gain: float | None = None
    bound: float | None = None
    bound_by: str | None = None
    gap: float | None = None
    confidence: Confidence = Confidence.UNVERIFIED
    histogram: Histogram | None = None


class OptimiseAnswer(Contract):
    """The best verified solution, in the words of the problem."""

    kind: Literal["optimise"] = "optimise"
    solution: dict[str, JsonValue]
    explanation: str
    quality: Quality


class Distance(Contract):
    """How far counts are from what the circuit would show on a device without noise.

    Of the register where it is most. Both are from 0, the same, to 1, nothing in common.

    Args:
        creg: name of the classical register.
        hellinger: sqrt(1 - sum of sqrt(p q)), of frequencies p and probabilities q.
        total_variation: half the sum of ``|p - q|``.
        chance: total variation that as many shots of a device without noise would have on average.
        against: what the probabilities are from.
    """

    creg: str
    hellinger: float
    total_variation: float
    chance: float
    against: str


class SampleAnswer(Contract):
    """Counts for each classical register: bit string (bit 0 rightmost) to number of shots.

    ``half_width`` is that of the widest 95 % interval of a frequency: how far, by chance alone, the
    share of an outcome may be from its probability. None where nothing that was run is known.
    ``distance`` is that of counts from hardware to the circuit's exact distribution, None where
    that is too much work or cannot be had.
    """

    kind: Literal["sample"] = "sample"
    counts: dict[str, dict[str, int]]
    shots: int
    half_width: float | None = None
    distance: Distance | None = None
    confidence: Confidence = Confidence.SAMPLED


class EstimateAnswer(Contract):
    """Expectation values and their standard errors, in the order of the observables asked."""

    kind: Literal["estimate"] = "estimate"
    values: tuple[float, ...]
    standard_errors: tuple[float, ...]
    confidence: Confidence = Confidence.INTERVAL


Answer = Annotated[OptimiseAnswer | SampleAnswer | EstimateAnswer, Field(discriminator="kind")]


class Unanswered(Contract):
    """Why there is no answer."""

    reason: str
    layer: Layer | None = None


class BoundFrom(Contract):
    """The compiled template that a circuit was made of by putting its angles in.

    Args:
        key: of the template: backend, calibration, structure, options, versions.
        from_cache: it was there; otherwise it was compiled for this circuit.
        angles: that were put in.
        full_two_qubit_gates: of the first circuit of this structure, compiled with its angles;
            None where there were no angles to put in.
    """

    key: str
    from_cache: bool = False
    angles: int = 0
    full_two_qubit_gates: int | None = None


class CircuitFacts(Contract):
    """What was compiled, and for what.

    ``layout[i]`` is the physical qubit of virtual qubit i at the end; ``sha256`` is over the
    instructions, so it does not depend on how they were written down; ``payload_bytes`` is the
    size in QPY; ``transpiler`` has the options and passes that were used, and their versions;
    ``bound_from`` is the template that it was bound from, None where it was compiled in full.
    """

    backend: str
    calibration_id: str | None = None
    qubits: int
    depth: int
    two_qubit_gates: int
    layout: tuple[int, ...] = ()
    seed_transpiler: int
    optimization_level: int
    sha256: str
    measurements: int | None = None
    payload_bytes: int | None = None
    transpiler: dict[str, JsonValue] = Field(default_factory=dict)
    bound_from: BoundFrom | None = None


class Provenance(Contract):
    """Where an answer came from.

    ``source`` is the rung that answered, ``provider`` the adapter, ``software`` the versions of
    the packages that took part, ``artefacts`` what can be looked at again.
    """

    source: Rung
    provider: str
    backend: str | None = None
    run_id: str | None = None
    provider_job_ids: tuple[str, ...] = ()
    shots: int | None = None
    circuit: CircuitFacts | None = None
    seed: int | None = None
    detail: dict[str, JsonValue] = Field(default_factory=dict)
    software: dict[str, str] = Field(default_factory=dict)
    artefacts: dict[str, ArtefactRef] = Field(default_factory=dict)


def applied_of(provenance: Provenance) -> Applied | None:
    """What was asked and done about the noise of a device; None if nothing is told of it."""
    said = provenance.detail.get("mitigation")
    return None if said is None else Applied.model_validate(said)


class Cost(Contract):
    """What was charged: ``money`` in ``currency``, quantum seconds as the provider counts them."""

    quantum_seconds: float = 0.0
    money: Decimal = Decimal(0)
    currency: str = "USD"
    classical_seconds: float = 0.0
    settled: bool = True


class LayerTiming(Contract):
    """How long a layer took, in seconds, and on which rung."""

    layer: Layer
    seconds: float
    rung: Rung | None = None


class Transition(Contract):
    """When a state was entered."""

    state: JobState
    at: datetime


class Attempt(Contract):
    """One rung that was tried.

    ``outcome`` is ``answered``, ``failed``, ``timed_out`` or ``abandoned``; ``layer`` names the
    budget that ran out; ``objective`` is of its verified answer, where it has one.
    """

    rung: Rung
    outcome: Literal["answered", "failed", "timed_out", "abandoned"]
    reason: str = ""
    layer: Layer | None = None
    run_id: str | None = None
    objective: float | None = None


class Compensation(Contract):
    """Something that was undone, or is being undone by a HardwareRun that lives on."""

    action: str
    target: str
    state: Literal["done", "in_progress", "not_needed"]
    detail: str = ""


class Contender(Contract):
    """One of several answers to the same input, checked like the others.

    ``result`` is the output that it was made from; ``run_id`` the hardware run, where it was one.
    """

    rung: Rung
    provider: str
    backend: str | None = None
    run_id: str | None = None
    objective: float
    confidence: Confidence = Confidence.UNVERIFIED
    result: ArtefactRef | None = None


class Comparison(Contract):
    """Hardware and our own machines on the same input, each with its best verified objective.

    Args:
        hardware: objective of the best answer from hardware.
        classical: objective of the best answer from elsewhere.
        classical_rung: where that came from.
        gain: by how much hardware was better, negative where it was worse, in the unit of the
            objective.
        served: the rung whose answer was served.
        rule: by which that one was chosen.
        contenders: every answer that stood the check, in the order in which they came.
    """

    hardware: float
    classical: float
    classical_rung: Rung
    gain: float
    served: Rung
    rule: str = ""
    contenders: tuple[Contender, ...] = ()


class JobResult(Contract):
    """How a job ended. Either ``answer`` or ``unanswered`` is set, never both.

    ``runs`` are the hardware runs that were begun, in their order; each has an account.
    """

    schema_version: Literal["1"] = "1"
    job_id: str
    tenant: str
    key: str
    payload_hash: str
    state: JobState
    answer: Answer | None = None
    unanswered: Unanswered | None = None
    provenance: Provenance | None = None
    decision: Decision | None = None
    attempts: tuple[Attempt, ...] = ()
    runs: tuple[str, ...] = ()
    comparison: Comparison | None = None
    compensations: tuple[Compensation, ...] = ()
    transitions: tuple[Transition, ...] = ()
    timings: tuple[LayerTiming, ...] = ()
    cost: Cost = Cost()
    submitter: str | None = None
    approval: ApprovalRecord | None = None
    review: ApprovalRecord | None = None
    lineage: Lineage | None = None


class JobStatus(Contract):
    """What a running job says of itself."""

    job_id: str
    payload_hash: str
    state: JobState
    rung: Rung | None = None
    run_id: str | None = None
    decision: Decision | None = None
    transitions: tuple[Transition, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    approval: ApprovalRecord | None = None
    detail: str = ""
