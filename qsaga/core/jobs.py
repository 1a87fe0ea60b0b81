"""What a caller asks for: a job request, its workload and its budgets."""

from __future__ import annotations

import base64
import binascii
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from qsaga.core.approval import Person
from qsaga.core.contract import JobKey, Seconds, Slug, StrictContract, canonical_json, digest
from qsaga.core.mitigation import Mitigation, Suppression, unless_silent
from qsaga.core.shots import Shot, Shots, ShotTarget, shots_for, without_silence
from qsaga.core.states import OPTIMISE_RUNGS, Layer, Rung

MAX_ANGLES = 64


class Problem(StrictContract):
    """A named problem and its input.

    ``data`` is validated by the problem's own model (see ``qsaga problems``), since problems
    are found by entry point and new ones can be installed.
    """

    name: Slug
    data: dict[str, JsonValue]


class Qaoa(StrictContract):
    """The quantum approximate optimisation algorithm (Farhi, Goldstone, Gutmann 2014).

    Args:
        depth: number of layers p.
        angles: ``fixed`` takes published angles for MaxCut on regular graphs (Wurtz and Lykov
            2021, arXiv:2107.00677), ``ramp`` a linear annealing ramp scaled by the couplings,
            ``tuned`` tunes every angle on a state vector of the model, from either of these
            (up to 16 qubits), ``transferred`` tunes on a part of the model, ``given`` takes those
            of ``gammas`` and ``betas``. ``auto`` is ``tuned`` for small models, else ``fixed``
            where they apply and ``transferred`` elsewhere.
        gammas: cost angles in radians, one for each layer; only with ``given``.
        betas: mixer angles in radians, one for each layer; only with ``given``.
        cvar: the share of the lowest energies that tuning lowers the mean of; 1 is all of them
            (Barkoutsos et al. 2020, arXiv:1907.04769).
        warm_start: begin near a greedy solution: the chance of each variable's other value, 0.5
            being no warm start at all (Egger, Marecek, Woerner 2021, arXiv:2009.10095).
        reduce: take out the variables that need no qubits before the circuit is built.
    """

    depth: Annotated[int, Field(ge=1, le=MAX_ANGLES)] = 2
    angles: Literal["auto", "fixed", "ramp", "tuned", "transferred", "given"] = "auto"
    gammas: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    cvar: Annotated[float, Field(gt=0, le=1)] = 1.0
    warm_start: Annotated[float, Field(gt=0, le=0.5)] | None = None
    reduce: bool = True

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Newer fields are left out where they say nothing: a request keeps its hash."""
        body: dict[str, Any] = handler(self)
        plain = type(self).model_fields
        return {
            name: value
            for name, value in body.items()
            if name not in ("cvar", "warm_start", "reduce") or value != plain[name].default
        }

    @model_validator(mode="after")
    def _angles_fit(self) -> Self:
        wanted = self.depth if self.angles == "given" else 0
        if len(self.gammas) != wanted or len(self.betas) != wanted:
            raise ValueError(
                f"angles={self.angles!r} with depth {self.depth} takes {wanted} gammas and "
                f"{wanted} betas, not {len(self.gammas)} and {len(self.betas)}"
            )
        return self


class Suppressed(Shot):
    """A workload of shots, with what is to be done about the noise of the device."""

    shots: Shots = 1024
    target: ShotTarget | None = None
    mitigation: Annotated[Suppression | None, AfterValidator(unless_silent)] = None

    @model_validator(mode="after")
    def _whole_randomizations(self) -> Self:
        if self.mitigation is not None:
            self.mitigation.suits(self.shots)
        return self


class Optimise(Suppressed):
    """Minimise or maximise a named problem."""

    kind: Literal["optimise"] = "optimise"
    problem: Problem
    algorithm: Qaoa = Qaoa()


class Circuit(StrictContract):
    """A quantum circuit: OpenQASM 3 source, or QPY bytes in base64."""

    format: Literal["qasm3", "qpy"] = "qasm3"
    source: Annotated[str, StringConstraints(min_length=1)]

    @model_validator(mode="after")
    def _decodes(self) -> Self:
        if self.format == "qpy":
            try:
                base64.b64decode(self.source, validate=True)
            except binascii.Error as error:
                raise ValueError(f"source: QPY must be base64 text ({error})") from error
        return self


class Sample(Suppressed):
    """Run a circuit and count its measurement outcomes."""

    kind: Literal["sample"] = "sample"
    circuit: Circuit


PauliLabel = Annotated[str, StringConstraints(pattern=r"^[IXYZ]+$")]


class Estimate(StrictContract):
    """Expectation values of observables on the state that a circuit prepares.

    Args:
        circuit: a circuit without measurements.
        observables: each a map from Pauli label (qubit 0 rightmost) to real coefficient.
        precision: target standard error of each value, in the unit of the observable.
        mitigation: what is to be done about the noise of the device.
    """

    kind: Literal["estimate"] = "estimate"
    circuit: Circuit
    observables: Annotated[
        tuple[Annotated[dict[PauliLabel, float], Field(min_length=1)], ...], Field(min_length=1)
    ]
    precision: Annotated[float, Field(gt=0, le=1)] = 1 / 32
    mitigation: Annotated[Mitigation | None, AfterValidator(unless_silent)] = None

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As ``Shot``: a request of before there was any mitigation keeps its hash."""
        return without_silence(handler(self), "mitigation")

    @model_validator(mode="after")
    def _whole_randomizations(self) -> Self:
        if self.mitigation is not None:
            self.mitigation.suits(shots_for(self.precision))
        return self


TAGS = {
    "sensitivity",
    "regions",
    "environment",
    "template",
    "experiment",
    "dataset",
    "session",
    "expect_peak",
    "reuse",
}
"""Fields of a request that the first version did not have."""

Workload = Annotated[Optimise | Sample | Estimate, Field(discriminator="kind")]

DEFAULT_LAYERS: dict[Layer, float] = {
    Layer.ADMIT: 60.0,
    Layer.APPROVAL: 24 * 3600.0,
    Layer.ENCODE: 60.0,
    Layer.COMPILE: 300.0,
    Layer.SUBMIT: 300.0,
    Layer.QUEUE: 3600.0,
    Layer.EXECUTION: 900.0,
    Layer.RETRIEVAL: 300.0,
    Layer.SIMULATE: 300.0,
    Layer.SOLVE: 5.0,
    Layer.POSTPROCESS: 120.0,
    Layer.DEADLINE: 24 * 3600.0,
}
"""Seconds for each layer where the request says nothing."""


class Budgets(StrictContract):
    """What a job may use.

    A layer left out gets ``DEFAULT_LAYERS``, cut to the deadline. All times are in seconds.

    Args:
        deadline: from the start of the job to its answer.
        admit: to learn what the backends offer and decide the route.
        approval: waiting for a person, where the policy asks for one.
        encode: from the input to the binary quadratic model and the circuit.
        compile: from the circuit to the ISA circuit of the backend.
        submit: until the provider is known to hold the job.
        queue: waiting at the provider.
        execution: running at the provider.
        retrieval: fetching the result.
        simulate: on the simulator, where that rung is used.
        solve: of a classical solver, which uses all of it.
        postprocess: decoding, polishing and verifying.
        quantum_seconds: that the provider may charge.
        money: that the job may cost, in ``currency``; None is no limit beside the others.
        currency: ISO 4217 code.
    """

    deadline: Seconds | None = None
    admit: Seconds | None = None
    approval: Seconds | None = None
    encode: Seconds | None = None
    compile: Seconds | None = None
    submit: Seconds | None = None
    queue: Seconds | None = None
    execution: Seconds | None = None
    retrieval: Seconds | None = None
    simulate: Seconds | None = None
    solve: Seconds | None = None
    postprocess: Seconds | None = None
    quantum_seconds: Annotated[float, Field(ge=0, le=1e6)] = 60.0
    money: Annotated[Decimal, Field(ge=0, le=10**9, allow_inf_nan=False)] | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "USD"

    @model_validator(mode="after")
    def _agree(self) -> Self:
        limit = self.seconds(Layer.DEADLINE)
        for layer in Layer:
            given = getattr(self, layer.value)
            if given is not None and given > limit:
                raise ValueError(
                    f"budgets contradict each other: {layer.value} is {given:g} s but the "
                    f"deadline is {limit:g} s (allowed: at most the deadline)"
                )
        return self

    def execution_limit(self) -> int:
        """Whole seconds after which the provider is asked to stop a run: time or quantum budget."""
        return max(1, int(min(self.seconds(Layer.EXECUTION), self.quantum_seconds)))

    def seconds(self, layer: Layer) -> float:
        """The time of one layer in seconds, never above the deadline."""
        deadline = self.deadline or DEFAULT_LAYERS[Layer.DEADLINE]
        return float(getattr(self, layer.value) or min(DEFAULT_LAYERS[layer], deadline))


class Sensitivity(StrEnum):
    """How much harm a job's data could do outside, from least to most."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"

    @property
    def level(self) -> int:
        """0 for the least."""
        return tuple(Sensitivity).index(self)


class SessionTerms(StrictContract):
    """A session at the provider that jobs of a tenant share: those that name the same key.

    It is opened for the first of them and closed when none has used it for a while.

    Args:
        key: names the session, within a tenant and a backend.
        mode: ``batch`` is charged what its jobs are; ``dedicated`` holds the backend, and is
            charged by the clock from its first job to its end.
        max_seconds: the most that it may last, in seconds from the start of its first job.
        idle_seconds: after so many seconds without a job it is closed.
    """

    key: Slug
    mode: Literal["batch", "dedicated"] = "batch"
    max_seconds: Annotated[int, Field(gt=0, le=8 * 3600)] = 3600
    idle_seconds: Annotated[float, Field(ge=0, le=3600)] = 60.0


class JobRequest(StrictContract):
    """One accountable request.

    Args:
        key: the caller's idempotency key; the same key twice is the same job.
        tenant: on whose account it runs.
        workload: what to do: optimise, sample or estimate.
        budgets: time, quantum seconds and money.
        route: the rung to try first, whatever the policy would choose; None lets it choose.
        backend: a backend by name; None takes the one with the shortest expected queue.
        seed: of everything random on our side.
        sensitivity: of the data; the policy says what may leave the house.
        regions: where the circuit may run, as providers name them; empty is anywhere.
        environment: ``test`` jobs are kept apart from ``production`` by the policy.
        template: the recurring kind of job that this is one of, if any.
        experiment: what to find it under in the history.
        dataset: version of the data that the input was made from.
        session: the provider session in which its hardware run takes part, if any.
        expect_peak: of a sample job, the least share of shots that its most frequent outcome is
            expected to have without noise; where the policy has a gate, a circuit that has not is
            kept off the hardware.
        reuse: an earlier answer of the tenant to the same input is served before anything is spent
            if it is no older, in seconds; the policy's ``cached_max_age`` holds as well.
        requested_by: who asks, where no signed identity says so.
    """

    schema_version: Literal["1"] = "1"
    tenant: Slug = "default"
    key: JobKey
    workload: Workload
    budgets: Budgets = Budgets()
    route: Rung | None = None
    backend: (
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] | None
    ) = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7
    sensitivity: Sensitivity = Sensitivity.INTERNAL
    regions: tuple[Slug, ...] = ()
    environment: Literal["test", "production"] = "production"
    template: Slug | None = None
    experiment: Slug | None = None
    dataset: Annotated[str, StringConstraints(pattern=r"^[^\n\r]{1,128}$")] | None = None
    session: SessionTerms | None = None
    expect_peak: Annotated[float, Field(gt=0, le=1)] | None = None
    reuse: Seconds | None = None
    requested_by: Person | None = None

    @model_validator(mode="after")
    def _affordable(self) -> Self:
        if self.route is Rung.HARDWARE and self.budgets.quantum_seconds == 0:
            raise ValueError(
                "budgets.quantum_seconds is 0 but route is hardware "
                "(allowed: above 0, or another route)"
            )
        if self.route in OPTIMISE_RUNGS and self.workload.kind != "optimise":
            raise ValueError(
                f"route {self.route.value} cannot answer workload {self.workload.kind!r} "
                "(allowed: hardware, simulator)"
            )
        if self.expect_peak is not None and self.workload.kind != "sample":
            raise ValueError(
                f"expect_peak says nothing of workload {self.workload.kind!r} (allowed: sample)"
            )
        if self.route is Rung.OTHER_BACKEND:
            raise ValueError(
                "route other_backend only follows hardware on a ladder (allowed: hardware)"
            )
        return self

    @property
    def job_id(self) -> str:
        """The workflow id: ``tenant/key``."""
        return f"{self.tenant}/{self.key}"

    def payload_hash(self) -> str:
        """What the key stands for: equal for requests that ask the same, as 64 hex digits."""
        body: dict[str, Any] = self.model_dump(
            mode="json", exclude={"key", "tenant", "requested_by", *TAGS}
        )
        # Left out where they say nothing, so that keys of before they existed keep their hash.
        if self.budgets.approval is None:
            del body["budgets"]["approval"]
        body |= self.model_dump(mode="json", include=TAGS, exclude_defaults=True)
        return digest(canonical_json(body))


def tenant_of(job_id: str) -> str:
    """The tenant of a job by its id."""
    return job_id.partition("/")[0]


def deployment_tag(deployment: str) -> str:
    """The tag on every remote job of a deployment."""
    return f"qsaga:{deployment}"


def submission_tag(deployment: str, job_id: str, number: int) -> str:
    """The tag of one submission: no name of a tenant or person can be read from it.

    Args:
        deployment: name of the deployment, so that two of them never share a tag.
        job_id: the job's workflow id.
        number: 0 for the first hardware submission of the job, then 1, …
    """
    return "qsaga:" + digest(deployment, job_id, str(number))[:32]
