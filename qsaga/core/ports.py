"""What qsaga needs of the outside: one protocol for each kind of neighbour.

Adapters implement these; activities receive them through their constructors. No protocol says
anything of a vendor. Circuits travel as QPY bytes, binary quadratic models as the bytes of
dimod's own file format (``BinaryQuadraticModel.to_file``), both through the artefact store.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

from pydantic import Field, JsonValue, SerializerFunctionWrapHandler, model_serializer

from qsaga.core.caching import Shelf
from qsaga.core.contract import ArtefactRef, Contract
from qsaga.core.facts import BackendFacts
from qsaga.core.jobs import Qaoa
from qsaga.core.mitigation import Mitigation
from qsaga.core.results import CircuitFacts, Cost
from qsaga.core.shots import without_silence

RunVerb = Literal["sample", "estimate"]


class RemoteState(StrEnum):
    """How a remote job stands. ``UNKNOWN`` is "cannot tell", never "failed"."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        """Whether the provider will do nothing more with the job."""
        return self in (RemoteState.COMPLETED, RemoteState.FAILED, RemoteState.CANCELLED)


class RemoteJob(Contract):
    """A job as its provider describes it.

    ``created``, ``running`` and ``finished`` are the provider's own times; ``reason`` is why it
    failed; ``quantum_seconds`` is what was charged so far, None while the provider does not say.
    ``tags`` are those it was submitted with, where the provider keeps such.
    """

    provider_job_id: str
    backend: str
    state: RemoteState
    reason: str = ""
    created: datetime | None = None
    running: datetime | None = None
    finished: datetime | None = None
    quantum_seconds: float | None = None
    tags: tuple[str, ...] = ()


class SubmissionKey(Contract):
    """What a submission is known by: its own tag, and the tag of the deployment that made it.

    Both are opaque: hashes and names of deployments, never of tenants or people.
    """

    tag: str
    deployment_tag: str


class RunSpec(Contract):
    """How a circuit is to be run.

    Args:
        verb: ``sample`` counts outcomes, ``estimate`` takes expectation values.
        shots: for ``sample``.
        observables: for ``estimate``, each a map from Pauli label to real coefficient.
        precision: for ``estimate``, the target standard error.
        max_seconds: after this many seconds of execution the provider is asked to stop the job.
        mitigation: what the provider is to do about noise; for ``sample`` without its fields
            ``resilience_level`` and ``resilience``. None leaves it to the provider.
    """

    verb: RunVerb
    shots: int
    observables: tuple[dict[str, float], ...] = ()
    precision: float | None = None
    max_seconds: int | None = None
    mitigation: Mitigation | None = None

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_silence(handler(self), "mitigation")


class CircuitResult(Contract):
    """What came back from running a circuit.

    For ``sample``: ``counts``, for each classical register a map from bit string (bit 0
    rightmost) to number of shots. For ``estimate``: ``values`` and ``standard_errors`` in the
    order of the observables. ``applied`` is what the provider says that it did about noise, by the
    names of ``Mitigation``; None if it says nothing.
    """

    verb: RunVerb
    shots: int
    counts: dict[str, dict[str, int]] = {}
    values: tuple[float, ...] = ()
    standard_errors: tuple[float, ...] = ()
    applied: dict[str, JsonValue] | None = None

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_silence(handler(self), "applied")


class Usage(Contract):
    """Quantum seconds that an account has used and may use; None where nothing is said."""

    consumed: float | None = None
    limit: float | None = None


class Compiled(Contract):
    """An ISA circuit as QPY bytes in ``qpy``, ready for one backend, and what is known of it.

    ``calibration`` is all that compiling for the backend took, as JSON for ``Recompiler``.
    """

    qpy: bytes
    facts: CircuitFacts
    calibration: bytes | None = None


SessionMode = Literal["dedicated", "batch"]


class Capabilities(Contract):
    """What a provider can be relied upon for.

    Args:
        idempotent: the provider knows the key: sending a submission once more under the same key
            gives the same job, so a lost reply is answered by asking again.
        repeats: its client may repeat a submission by itself, so that one sending may make
            several jobs.
        searchable: ``find`` sees every job that was accepted under a key, whoever sent it. Where
            it is False, a submission without a reply stays undecided for ever.
        found_within: seconds after the beginning of ``submit`` within which every job that it
            made can be found.
        session_modes: kinds of session that can be opened.
        mitigation: it hands ``RunSpec.mitigation`` through. One that does not refuses such a spec,
            and jobs that ask for mitigation are not routed to it.
    """

    idempotent: bool = False
    repeats: bool = False
    searchable: bool = True
    found_within: float = 0.0
    session_modes: tuple[SessionMode, ...] = ()
    mitigation: bool = False


class Health(Contract):
    """Whether a provider answers now; ``detail`` says what is wrong, ``seconds`` how long it took.

    ``authorised`` is None where that could not be found out.
    """

    reachable: bool
    authorised: bool | None = None
    seconds: float
    detail: str = ""


class CompileTarget(Contract):
    """What a circuit is compiled for: the ISA of a backend as it is calibrated now.

    ``operations`` names the instructions, ``couplings`` counts the pairs of qubits that a
    two-qubit gate joins (in one direction or both). Circuits compiled for another
    ``calibration_id`` may no longer fit.
    """

    backend: str
    qubits: int
    operations: tuple[str, ...]
    couplings: int
    calibration_id: str | None = None


class Outlook(Contract):
    """When a queued job is expected to start, as far as the provider tells; None is "unknown".

    ``position`` counts from 1.
    """

    position: int | None = None
    starts: datetime | None = None


class SessionSpec(Contract):
    """A session to open.

    ``max_seconds`` is the most that it may last from the start of its first job, in seconds.
    """

    backend: str
    mode: SessionMode
    max_seconds: int = Field(gt=0)


class RemoteSession(Contract):
    """A session as its provider describes it.

    ``seconds`` is the quantum time that counts against the account so far: for a dedicated
    session from its first job on, for a batch that of its jobs; None while nothing is said.
    """

    session_id: str
    backend: str
    mode: SessionMode
    open: bool
    accepting: bool
    seconds: float | None = None


class QuantumProvider(Protocol):
    """A place where circuits run and are charged.

    Every method returns within the adapter's own time limit or raises TransientProviderError;
    credentials or input that will never work raise PermanentProviderError.
    """

    name: str
    capabilities: Capabilities

    async def health(self) -> Health:
        """Whether the provider answers; never raises."""

    async def backends(self) -> tuple[BackendFacts, ...]:
        """All backends of the account with their state and queue now: the facts of a forecast."""

    async def target(self, backend: str) -> CompileTarget:
        """What the backend compiles to now."""

    async def compile(
        self, qpy: bytes, backend: str, seed: int, spec: RunSpec, shelf: Shelf | None = None
    ) -> Compiled:
        """Transpile to the backend's ISA. Raises CompileError if the circuit does not fit.

        ``shelf`` has what was compiled before, for the calibration of now or earlier ones.
        """

    async def find(self, tag: str) -> tuple[RemoteJob, ...]:
        """All jobs that carry the tag, oldest first; ended ones too."""

    async def submit(
        self,
        isa_qpy: bytes,
        layout: tuple[int, ...],
        backend: str,
        spec: RunSpec,
        key: SubmissionKey,
        session: str | None = None,
    ) -> RemoteJob:
        """Send one job, once, in an open session if one is named.

        ``layout[i]`` is the physical qubit of virtual qubit i (for observables). Raises
        Undecided when the job may have been accepted although no reply says so; any other
        error means that it surely was not.
        """

    async def status(self, provider_job_id: str) -> RemoteJob:
        """The job as it stands now. Raises NoSuchRemoteJob."""

    async def pending(self, deployment_tag: str) -> tuple[RemoteJob, ...]:
        """The deployment's jobs that have not ended: how many stand, in few requests."""

    async def outlook(self, provider_job_id: str) -> Outlook:
        """When a queued job may start."""

    async def result(self, provider_job_id: str) -> CircuitResult:
        """Fetch the result of a completed job. Raises ResultUnusable if it is gone or malformed."""

    async def usage(self) -> Usage:
        """What the provider says that the whole account has used."""

    async def cancel(self, provider_job_id: str) -> RemoteJob:
        """Ask for the job's end; safe to repeat; returns the job as it stands afterwards."""

    async def open_session(self, spec: SessionSpec) -> RemoteSession:
        """Open a session. Raises PermanentProviderError for a mode that is not offered.

        One that was opened although no reply said so holds nothing and costs nothing: it begins
        with its first job.
        """

    async def session(self, session_id: str) -> RemoteSession:
        """The session as it stands now."""

    async def close_session(self, session_id: str) -> RemoteSession:
        """Take no more jobs and end what waits in it; safe to repeat."""


class Recompiler(Protocol):
    """Compiles for a backend as it once was calibrated; needs no account and no network."""

    async def compile(
        self,
        qpy: bytes,
        calibration: bytes,
        seed: int,
        level: int,
        spec: RunSpec,
        rebind: bool = False,
    ) -> Compiled:
        """As ``QuantumProvider.compile``, ``level`` being the optimisation level then.

        ``rebind`` says that the circuit was bound from a template (``CircuitFacts.bound_from``).
        Raises CompileError, also where the calibration cannot be read.
        """


class AnsatzBuilder(Protocol):
    """Turns a binary quadratic model into a circuit.

    ``version`` rises whenever the same model gives another circuit.
    """

    version: str

    def build(self, bqm: bytes, algorithm: Qaoa) -> bytes:
        """A bound, measured QAOA circuit as QPY; variable i (in the model's order) is qubit i."""


class CircuitReader(Protocol):
    """Reads circuits that users supply.

    ``formulation`` and ``preprocessing`` name what parses a circuit and what fits it to the verb,
    with versions that rise whenever the same source gives another circuit.
    """

    formulation: str
    preprocessing: str

    def digest(self, qpy: bytes) -> str:
        """Equal for circuits of the same instructions. Raises ValueError for what is no circuit."""

    def read(self, format: str, source: str, verb: RunVerb) -> tuple[bytes, int]:
        """QPY bytes and number of qubits. Raises InvalidRequest for what cannot be run."""


class ArtefactStore(Protocol):
    """Keeps blobs under their own hash, so that putting one twice is putting it once."""

    def put(self, data: bytes, media: str) -> ArtefactRef:
        """Store and return the reference, durably."""

    def get(self, ref: ArtefactRef) -> bytes:
        """The blob. Raises KeyError when it is not there, ValueError when it is damaged."""

    def delete(self, ref: ArtefactRef, before: datetime) -> bool:
        """Delete a blob unless it was put since ``before``. Returns whether it is gone."""


class Charge(Contract):
    """What one remote job cost.

    ``role`` tells the job's own run from an extra one that the wire made, and from a session: what
    that was charged beyond its jobs, under the session's id.
    """

    provider: str
    provider_job_id: str
    backend: str
    state: RemoteState
    role: Literal["run", "extra", "session"] = "run"
    cost: Cost


class LateResult(Contract):
    """A hardware answer that came after another answer had been served.

    ``comparison`` says in words how the two differ; ``difference`` is late minus served, in the
    unit of the objective, where both have one.
    """

    run_id: str
    result: ArtefactRef
    objective: float | None = None
    served_objective: float | None = None
    difference: float | None = None
    comparison: str = ""


Software = Mapping[str, str]
"""Package name to version."""
