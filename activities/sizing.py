"""How large a workload is: what backends and simulators are chosen by."""

from __future__ import annotations

from typing import NamedTuple

from qsaga.core.jobs import Estimate, Optimise, Workload
from qsaga.core.ports import CircuitReader
from qsaga.core.reduction import Reducer
from qsaga.core.validation import check_observables
from qsaga.problems.precision import spread
from qsaga.problems.registry import parse
from qsaga.problems.verify import dump_model


class Size(NamedTuple):
    """Variables of the model, qubits of the circuit, and what reduced the one to the other.

    ``warnings`` are of coefficients that are too far apart; empty where no model was built.
    """

    variables: int | None
    qubits: int
    reduction: str = ""
    warnings: tuple[str, ...] = ()


def size_of(workload: Workload, reader: CircuitReader, reducer: Reducer | None) -> Size:
    """The size of a workload.

    Args:
        workload: what is asked.
        reader: of circuits.
        reducer: of models; None where no circuit is made of them.

    Raises InvalidRequest.
    """
    if not isinstance(workload, Optimise):
        _, qubits = reader.read(workload.circuit.format, workload.circuit.source, workload.kind)
        if isinstance(workload, Estimate):
            check_observables(workload, qubits)
        return Size(None, qubits)
    problem, given = parse(workload.problem)
    variables, couplings = problem.size(given)
    if reducer is None or couplings > reducer.most_couplings:
        return Size(variables, variables)
    model = problem.formulate(given)
    warnings = spread(model).warnings()
    found = reducer.reduce(dump_model(model)) if workload.algorithm.reduce else None
    if found is None:
        return Size(variables, variables, warnings=warnings)
    return Size(variables, found.size.qubits, found.version, warnings)
