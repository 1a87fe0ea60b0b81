"""Qiskit's estimator over qsaga."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from pydantic import ValidationError
from qiskit.primitives import BaseEstimatorV2, DataBin, PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub, EstimatorPubLike
from qiskit.quantum_info import SparsePauliOp

from qsaga.core.errors import InvalidRequest, ResultUnusable
from qsaga.core.jobs import Estimate
from qsaga.core.mitigation import Mitigation
from qsaga.core.results import EstimateAnswer, JobResult
from qsaga.core.validation import invalid_request
from qsaga.primitives.base import Durable, Given
from qsaga.primitives.circuits import Prepared, for_estimating, written
from qsaga.primitives.job import DurableJob
from qsaga.primitives.options import options_of
from qsaga.primitives.provenance import told

DEFAULT_PRECISION = 1 / 32
MAX_TERMS = 4096
"""Pauli terms that the projectors of one observable may be expanded to."""

Observable = dict[str, float]


@dataclass(frozen=True)
class _Asked:
    """A PUB, one workload for each set of parameter values, and where each value belongs.

    ``places[i]`` has, for each observable of workload i, the index into the PUB's flat result.
    """

    pub: EstimatorPub
    workloads: tuple[Estimate, ...]
    places: tuple[tuple[int, ...], ...]


class DurableEstimator(Durable, BaseEstimatorV2):  # type: ignore[misc]
    """``EstimatorV2`` whose runs are qsaga jobs; see ``Durable`` for its arguments.

    Args:
        default_precision: target standard error where neither ``run`` nor the PUB gives one, in
            the unit of the observable.
        options: error suppression and mitigation: a ``Mitigation``, a mapping of its fields, or
            the ``EstimatorOptions`` of qiskit-ibm-runtime with nothing else set.
    """

    def __init__(
        self,
        *,
        default_precision: float = DEFAULT_PRECISION,
        options: Any = None,
        **given: Unpack[Given],
    ) -> None:
        super().__init__(**given)
        self.default_precision = default_precision
        self.options = options_of(Mitigation, options)

    def run(
        self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None
    ) -> DurableJob:
        """Start a job for each set of parameter values, or find those that the script started.

        All observables that are wanted for the same values are taken by one job.

        Raises:
            InvalidRequest: a circuit measures on its way, or a value cannot be taken; a precision
                of 0, which no machine can give.
            ValueError, TypeError: Qiskit cannot read a PUB; observables of another width.
            PolicyRefused: no worker would accept a job; where ``route`` or ``backend`` is given.
            Unreachable: Temporal does not answer.
        """
        default = self.default_precision if precision is None else precision
        coerced = [EstimatorPub.coerce(pub, default) for pub in pubs]
        self._room_for(sum(pub.parameter_values.size for pub in coerced))
        asked = [_asked(pub, self.options, f"pubs.{index}") for index, pub in enumerate(coerced)]
        return self._start(
            [workload for one in asked for workload in one.workloads],
            lambda results: _result(asked, results),
        )


def _asked(pub: EstimatorPub, options: Mitigation | None, path: str) -> _Asked:
    observables = _observables(pub, path)
    needed = frozenset(
        qubit
        for observable in observables
        for label in observable
        for qubit, letter in enumerate(reversed(label))
        if letter != "I"
    )
    prepared = for_estimating(pub.circuit, needed, f"{path}.circuit")
    narrowed = [_narrowed(observable, prepared) for observable in observables]
    bound = pub.parameter_values.bind_all(prepared.circuit).reshape(-1)
    # Which set of values and which observable each place of the result belongs to.
    values = _spread(pub.parameter_values.shape, pub.shape)
    wanted = _spread(pub.observables.shape, pub.shape)
    workloads, places = [], []
    for number, circuit in enumerate(bound):
        here = tuple(int(place) for place in np.flatnonzero(values == number))
        if not here:
            continue
        try:
            workload = Estimate(
                circuit=written(circuit),
                observables=tuple(narrowed[wanted[place]] for place in here),
                precision=float(pub.precision),
                mitigation=options,
            )
        except ValidationError as error:
            raise invalid_request(error, path) from error
        workloads.append(workload)
        places.append(here)
    return _Asked(pub, tuple(workloads), tuple(places))


def _spread(shape: tuple[int, ...], over: tuple[int, ...]) -> Any:
    """Flat index into an array of ``shape`` for each place of what it is broadcast to, flat."""
    return np.broadcast_to(np.arange(np.prod(shape, dtype=int)).reshape(shape), over).reshape(-1)


def _observables(pub: EstimatorPub, path: str) -> list[Observable]:
    flat = pub.observables.ravel()
    return [_paulis(flat.slice(index), f"{path}.observables.{index}") for index in range(flat.size)]


def _paulis(observable: Any, path: str) -> Observable:
    """An observable of Pauli letters, projectors such as ``0`` and ``+`` expanded."""
    terms = sum(
        2 ** sum(letter not in "XYZ" for letter in letters)
        for letters, _, _ in observable.to_sparse_list()
    )
    if terms > MAX_TERMS:
        raise InvalidRequest(path, f"{terms} Pauli terms, once expanded", f"at most {MAX_TERMS}")
    # Nothing is dropped for being small: what is asked is answered.
    whole = SparsePauliOp.from_sparse_observable(observable).simplify(atol=0, rtol=0)
    return {label: float(value.real) for label, value in whole.to_list()}


def _narrowed(observable: Observable, prepared: Prepared) -> Observable:
    """The same on the qubits that are sent."""
    return {
        "".join(label[::-1][qubit] for qubit in reversed(prepared.qubits)): value
        for label, value in observable.items()
    }


def _result(asked: Sequence[_Asked], results: Sequence[JobResult]) -> PrimitiveResult:
    left = iter(results)
    made = [_pub_result(one, [next(left) for _ in one.workloads]) for one in asked]
    return PrimitiveResult(made, metadata={"version": 2})


def _pub_result(asked: _Asked, results: Sequence[JobResult]) -> PubResult:
    pub = asked.pub
    evs, stds = np.full(pub.size, np.nan), np.full(pub.size, np.nan)
    for result, places in zip(results, asked.places, strict=True):
        answer = result.answer
        if not isinstance(answer, EstimateAnswer) or len(answer.values) != len(places):
            raise ResultUnusable(f"job {result.job_id} has not {len(places)} values")
        evs[list(places)], stds[list(places)] = answer.values, answer.standard_errors
    data = DataBin(evs=evs.reshape(pub.shape), stds=stds.reshape(pub.shape), shape=pub.shape)
    return PubResult(
        data,
        metadata={
            "target_precision": pub.precision,
            "circuit_metadata": pub.circuit.metadata,
            "qsaga": [told(result) for result in results],
        },
    )
