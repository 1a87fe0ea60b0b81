"""What an answer was made of, so that it can be made again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from qsaga.core.contract import ArtefactRef, Contract, canonical_json, digest
from qsaga.core.reduction import Reduced
from qsaga.core.states import CIRCUIT_RUNGS

if TYPE_CHECKING:  # results, which steps are made of, hold a Lineage
    from qsaga.core.facts import Decision
    from qsaga.core.jobs import JobRequest, Workload
    from qsaga.core.steps import Encoded, Raw, Verified


class Lineage(Contract):
    """Everything that went into an answer beside what its provenance and attempts say.

    Args:
        input_sha256: of the workload as it was given, as 64 hex digits.
        dataset: version of the data, as the request names it.
        experiment: as the request names it.
        template: as the request names it.
        environment: ``test`` or ``production``.
        policy_version: of the routing policy.
        formulation: name and version of what turned the input into a model or circuit.
        preprocessing: name and version of what prepared the input.
        postprocessing: name and version of what decoded and polished the samples.
        variables: of the binary model; None unless optimise.
        couplings: of the binary model; None unless optimise.
        qubits: of the circuit before it was compiled.
        parameter_sets: number of parameter sets in the PUB.
        shots: asked for in each.
        encoded_before: the model and the circuit were those of an earlier job of the tenant.
        encoded_bytes: of the model or, where there is none, of the circuit before compilation.
        payload_bytes: of the compiled circuit as it was sent, in QPY.
        measurements: in the compiled circuit.
        transpiler: options of the compilation.
        calibration: the backend's calibration data at compilation, kept as an artefact.
        partial: outputs of rungs whose answer was not served, by rung.
        machine: interpreter and platform of the worker that verified the answer.
        reduction: how much smaller the model was made before the circuit was built; None where
            nothing looked.
    """

    input_sha256: str
    dataset: str | None = None
    experiment: str | None = None
    template: str | None = None
    environment: str | None = None
    policy_version: str | None = None
    formulation: str | None = None
    preprocessing: str | None = None
    postprocessing: str | None = None
    variables: int | None = None
    couplings: int | None = None
    qubits: int | None = None
    parameter_sets: int | None = None
    shots: int | None = None
    encoded_before: bool = False
    encoded_bytes: int | None = None
    payload_bytes: int | None = None
    measurements: int | None = None
    transpiler: dict[str, JsonValue] = Field(default_factory=dict)
    calibration: ArtefactRef | None = None
    partial: dict[str, ArtefactRef] = Field(default_factory=dict)
    machine: dict[str, str] = Field(default_factory=dict)
    reduction: Reduced | None = None


def input_digest(workload: Workload) -> str:
    """SHA-256 of a workload's canonical JSON, as 64 hex digits."""
    return digest(canonical_json(workload.model_dump(mode="json")))


def lineage_of(
    request: JobRequest,
    *,
    decision: Decision | None = None,
    encoded: Encoded | None = None,
    raw: Raw | None = None,
    verified: Verified | None = None,
    raws: Iterable[Raw] = (),
) -> Lineage:
    """What a job's steps said, put together.

    Args:
        request: as it was asked.
        decision: None if the job ended before there was one.
        encoded: None if it ended before it was encoded.
        raw: of the rung whose answer is served; None if none is.
        verified: of the same rung.
        raws: outputs of all rungs, the served one among them or not.
    """
    facts = raw.circuit if raw else None
    circuit = encoded.circuit if encoded else None
    # A circuit was made for the ladder, but another rung may have answered from the model.
    ran = circuit is not None and (raw is None or raw.rung in CIRCUIT_RUNGS)
    kept = (encoded.model or circuit) if encoded else None
    return Lineage(
        input_sha256=(encoded and encoded.input_sha256) or input_digest(request.workload),
        dataset=request.dataset,
        experiment=request.experiment,
        template=request.template,
        environment=request.environment,
        policy_version=decision.policy_version if decision else None,
        formulation=(encoded and encoded.formulation) or None,
        preprocessing=(encoded and encoded.preprocessing) or None,
        postprocessing=(verified and verified.postprocessing) or None,
        variables=encoded.variables if encoded else None,
        couplings=encoded.couplings if encoded else None,
        qubits=encoded.qubits if encoded and circuit else None,
        parameter_sets=encoded.parameter_sets if encoded and ran else None,
        shots=encoded.spec.shots if encoded and ran else None,
        encoded_before=bool(encoded and encoded.from_cache),
        encoded_bytes=kept.size if kept else None,
        payload_bytes=facts.payload_bytes if facts else None,
        measurements=facts.measurements if facts else None,
        transpiler=dict(facts.transpiler) if facts else {},
        calibration=raw.calibration if raw else None,
        partial={
            other.rung.value: other.result
            for other in raws
            if raw is None or other.rung is not raw.rung
        },
        machine=dict(verified.machine) if verified else {},
        reduction=encoded.reduced if encoded else None,
    )


class Check(Contract):
    """One thing that was made again.

    ``same`` is None where it cannot be told or cannot be the same twice; ``note`` says why.
    """

    what: str
    recorded: str | None = None
    again: str | None = None
    same: bool | None = None
    note: str = ""


class Reproduction(Contract):
    """A job made again from its record.

    Args:
        job_id: of the job; nothing was submitted or changed.
        same: whether no check failed and at least one held.
        checks: what the job made: input, model, circuits, counts, answer.
        conditions: versions and machine then and now, which may explain a difference.
    """

    job_id: str
    same: bool
    checks: tuple[Check, ...]
    conditions: tuple[Check, ...] = ()
