"""The activity contracts: what workflows call and activities implement.

Each step is a base class whose method carries ``@activity.defn`` and the typed signature. An
implementation subclasses it and is registered by its bound method; workflows refer to the
method of the base class, so they never import an implementation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from pydantic import Field, JsonValue
from temporalio import activity

from qsaga.core.applied import Applied
from qsaga.core.contract import ArtefactRef, Contract
from qsaga.core.jobs import JobRequest, Workload
from qsaga.core.ports import RunSpec
from qsaga.core.reduction import Reduced
from qsaga.core.results import Answer, CircuitFacts, Cost, JobResult
from qsaga.core.states import CIRCUIT_RUNGS, Rung


class Encoded(Contract):
    """A workload ready for its rungs.

    Args:
        model: dimod BQM file; None unless optimise.
        circuit: QPY; None if no rung of the ladder runs a circuit.
        spec: how the circuit is to be run.
        qubits: of the circuit, or variables of the model.
        input_sha256: of the workload; see ``qsaga.core.lineage.input_digest``.
        formulation: names and versions of what made the model and the circuit.
        preprocessing: name and version of what prepared the input.
        variables: of the model.
        couplings: of the model.
        parameter_sets: of the circuit, each of which is run with all shots.
        from_cache: made for an earlier job of the tenant with the same input.
        reduction: a ``Reduction``, JSON; None where the circuit is of the whole model.
        reduced: how large that left it.
    """

    model: ArtefactRef | None
    circuit: ArtefactRef | None
    spec: RunSpec
    qubits: int
    input_sha256: str = ""
    formulation: str = ""
    preprocessing: str = ""
    variables: int | None = None
    couplings: int | None = None
    parameter_sets: int | None = None
    from_cache: bool = False
    reduction: ArtefactRef | None = None
    reduced: Reduced | None = None

    def labelled(self, raw: Raw) -> Raw:
        """The output of a rung with the reduction that its circuit was built with."""
        if raw.rung not in CIRCUIT_RUNGS:
            return raw
        return raw.model_copy(update={"reduction": self.reduction})


class EncodeInput(Contract):
    """``circuit_wanted`` is False where no rung of the ladder runs one.

    ``tenant`` is whose encoded problems may be used; empty uses none. ``reduction`` is the version
    of the reduction that the job was admitted with; empty encodes the model as it is.
    """

    workload: Workload
    circuit_wanted: bool
    max_seconds: int | None = None
    tenant: str = ""
    reduction: str = ""


class EncodeStep(ABC):
    """Pre-process and encode: problem to binary quadratic model to circuit."""

    @activity.defn(name="encode")
    @abstractmethod
    async def encode(self, given: EncodeInput) -> Encoded:
        """Raises InvalidRequest."""


class Raw(Contract):
    """What a rung produced, before verification.

    ``result`` is a CircuitResult (media ``application/vnd.qsaga.circuit-result+json``) or a
    dimod SampleSet (media ``application/vnd.dimod.sampleset+json``). ``detail`` is what else
    belongs to its provenance: age and job of an earlier answer, who gave one. ``reduction`` is that
    of the model that ran; None where all of the model did.
    """

    rung: Rung
    provider: str
    result: ArtefactRef
    backend: str | None = None
    run_id: str | None = None
    provider_job_ids: tuple[str, ...] = ()
    circuit: CircuitFacts | None = None
    isa_circuit: ArtefactRef | None = None
    calibration: ArtefactRef | None = None
    cost: Cost = Cost()
    detail: dict[str, JsonValue] = Field(default_factory=dict)
    reduction: ArtefactRef | None = None


class SolveInput(Contract):
    """``seconds`` is the time that the solver uses, all attempts together.

    ``key`` is what the best samples so far are kept under; empty keeps none.
    """

    model: ArtefactRef
    seconds: float
    seed: int
    key: str = ""
    reduction: ArtefactRef | None = None


class SolveStep(ABC):
    """Answer on a classical solver."""

    @activity.defn(name="solve")
    @abstractmethod
    async def solve(self, given: SolveInput) -> Raw:
        """Raises SolverError."""


class SimulateInput(Contract):
    """A circuit and how to run it."""

    circuit: ArtefactRef
    spec: RunSpec
    seed: int


class SimulateStep(ABC):
    """Answer on a simulator."""

    @activity.defn(name="simulate")
    @abstractmethod
    async def simulate(self, given: SimulateInput) -> Raw:
        """Raises SolverError."""


class VerifyInput(Contract):
    """What to verify against which input."""

    workload: Workload
    model: ArtefactRef | None
    raw: Raw


class Verified(Contract):
    """A verified answer, the software versions that made it, and where they ran.

    ``postprocessing`` names what decoded, checked and polished, with versions; ``mitigation`` what
    was asked and done about noise, None where neither was.
    """

    answer: Answer
    software: dict[str, str]
    polished: bool = False
    postprocessing: str = ""
    machine: dict[str, str] = {}
    mitigation: Applied | None = None


class VerifyStep(ABC):
    """Decode, polish, and check against the input."""

    @activity.defn(name="verify")
    @abstractmethod
    async def verify(self, given: VerifyInput) -> Verified:
        """Raises ResultUnusable.

        No sample can be decoded to a feasible answer, or what is behind an earlier job's answer is
        not kept any more.
        """


class CloseInput(Contract):
    """The result to keep, and the account to close.

    Args:
        result: of the job.
        account: what the keys of its reservations were made of; empty where there is none.
        run_ids: hardware runs that were begun; each settles its own reservation.
        artefacts: all that the job stored.
        request: as it was asked.
        holds: for so many hardware runs something may be held, whether begun or not.
        incumbent: what the best samples so far were kept under; they are dropped.
        searched: the same of the rung ``exact``.
    """

    result: JobResult
    account: str = ""
    run_ids: tuple[str, ...] = ()
    artefacts: tuple[ArtefactRef, ...] = ()
    request: JobRequest | None = None
    holds: int = 1
    incumbent: str = ""
    searched: str = ""


class CloseStep(ABC):
    """Write the job's closing record."""

    @activity.defn(name="close")
    @abstractmethod
    async def close(self, given: CloseInput) -> JobResult | None:
        """Safe to repeat. Returns the result that was recorded before, if it is another one."""


# --- HardwareRun -----------------------------------------------------------------------------


class CompileInput(Contract):
    """A circuit and the backend it is for.

    ``tenant`` is whose compiled templates may be used; empty uses none.
    """

    circuit: ArtefactRef
    backend: str
    seed: int
    spec: RunSpec
    tenant: str = ""


class CompiledCircuit(Contract):
    """An ISA circuit in the artefact store, and the calibration data it was compiled with."""

    isa: ArtefactRef
    facts: CircuitFacts
    calibration: ArtefactRef | None = None


class CompileStep(ABC):
    """Transpile to the backend's ISA."""

    @activity.defn(name="compile")
    @abstractmethod
    async def compile(self, given: CompileInput) -> CompiledCircuit:
        """Raises CompileError."""
