"""Qiskit's sampler over qsaga."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from pydantic import ValidationError
from qiskit.primitives import BaseSamplerV2, BitArray, DataBin, PrimitiveResult, SamplerPubResult
from qiskit.primitives.containers.sampler_pub import SamplerPub, SamplerPubLike

from qsaga.core.contract import digest
from qsaga.core.errors import InvalidRequest, ResultUnusable
from qsaga.core.jobs import Sample
from qsaga.core.mitigation import Suppression
from qsaga.core.results import JobResult, SampleAnswer
from qsaga.core.validation import invalid_request
from qsaga.primitives.base import Durable, Given
from qsaga.primitives.circuits import Prepared, for_sampling, written
from qsaga.primitives.job import DurableJob
from qsaga.primitives.options import options_of
from qsaga.primitives.provenance import told

DEFAULT_SHOTS = 1024


@dataclass(frozen=True)
class _Asked:
    """A PUB, its circuit as it is sent, and one workload for each set of parameter values."""

    pub: SamplerPub
    prepared: Prepared
    workloads: tuple[Sample, ...]


class DurableSampler(Durable, BaseSamplerV2):  # type: ignore[misc]
    """``SamplerV2`` whose runs are qsaga jobs; see ``Durable`` for its arguments.

    Args:
        default_shots: where neither ``run`` nor the PUB says how many.
        options: error suppression: a ``Suppression``, a mapping of its fields, or the
            ``SamplerOptions`` of qiskit-ibm-runtime with nothing else set.
    """

    def __init__(
        self, *, default_shots: int = DEFAULT_SHOTS, options: Any = None, **given: Unpack[Given]
    ) -> None:
        super().__init__(**given)
        self.default_shots = default_shots
        self.options = options_of(Suppression, options)

    def run(self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None) -> DurableJob:
        """Start a job for each set of parameter values, or find those that the script started.

        Raises:
            InvalidRequest: a circuit measures nothing, or a value cannot be taken.
            ValueError, TypeError: Qiskit cannot read a PUB.
            PolicyRefused: no worker would accept a job; where ``route`` or ``backend`` is given.
            Unreachable: Temporal does not answer.
        """
        default = self.default_shots if shots is None else shots
        coerced = [SamplerPub.coerce(pub, default) for pub in pubs]
        self._room_for(sum(pub.size for pub in coerced))
        asked = [_asked(pub, self.options, f"pubs.{index}") for index, pub in enumerate(coerced)]
        return self._start(
            [workload for one in asked for workload in one.workloads],
            lambda results: _result(asked, results),
        )


def _asked(pub: SamplerPub, options: Suppression | None, path: str) -> _Asked:
    prepared = for_sampling(pub.circuit, f"{path}.circuit")
    try:
        DataBin(**dict.fromkeys(prepared.registers))
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{path}.circuit", str(error), "other names of registers") from error
    bound = pub.parameter_values.bind_all(prepared.circuit)
    try:
        workloads = tuple(
            Sample(circuit=written(circuit), shots=int(pub.shots), mitigation=options)
            for circuit in bound.reshape(-1)
        )
    except ValidationError as error:
        raise invalid_request(error, path) from error
    return _Asked(pub, prepared, workloads)


def _result(asked: Sequence[_Asked], results: Sequence[JobResult]) -> PrimitiveResult:
    left = iter(results)
    made = [_pub_result(one, [next(left) for _ in one.workloads]) for one in asked]
    return PrimitiveResult(made, metadata={"version": 2})


def _pub_result(asked: _Asked, results: Sequence[JobResult]) -> SamplerPubResult:
    pub, width = asked.pub, asked.prepared.circuit.num_clbits
    rows = [_shots(result, width) for result in results]
    # An array has as many shots in every place.
    least = min((row.num_shots for row in rows), default=pub.shots)
    shape = (*pub.shape, least, -(-width // 8))
    packed = np.array([row.array[:least] for row in rows], dtype=np.uint8).reshape(shape)
    whole = BitArray(packed, width)
    data: dict[str, Any] = {
        name: whole.slice_bits(list(places)) for name, places in asked.prepared.registers.items()
    }
    return SamplerPubResult(
        DataBin(**data, shape=pub.shape),
        metadata={
            "shots": least,
            "circuit_metadata": pub.circuit.metadata,
            "qsaga": [told(result) for result in results],
        },
    )


def _shots(result: JobResult, width: int) -> BitArray:
    """The shots of one job.

    Counts keep no order. The shots are shuffled, always alike for the same job, so that any
    slice of them is a fair sample.
    """
    answer = result.answer
    if not isinstance(answer, SampleAnswer) or len(answer.counts) != 1:
        raise ResultUnusable(f"job {result.job_id} has no counts of a single register")
    counts = BitArray.from_counts(next(iter(answer.counts.values())), width)
    seed = int(digest(result.job_id, result.payload_hash)[:16], 16)
    return counts.slice_shots(np.random.default_rng(seed).permutation(counts.num_shots))
