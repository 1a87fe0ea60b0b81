"""Answers from outside as results of a rung, in the words of the workload."""

from __future__ import annotations

import json

import dimod

from qsaga.core.errors import ResultUnusable
from qsaga.core.jobs import Estimate, Optimise, Sample, Workload
from qsaga.core.ports import CircuitResult
from qsaga.core.supplied import SuppliedAnswer
from qsaga.problems.registry import parse
from qsaga.problems.verify import CIRCUIT_RESULT, SAMPLE_SET

SHOWN = 5


def as_result(workload: Workload, answer: SuppliedAnswer) -> tuple[bytes, str]:
    """A supplied answer as ``(data, media type)`` of a rung's result.

    Raises ResultUnusable, naming the field, where the answer does not fit the workload.
    """
    if isinstance(workload, Optimise):
        return _sample_set(workload, answer), SAMPLE_SET
    result = _counted(answer) if isinstance(workload, Sample) else _estimated(workload, answer)
    return result.model_dump_json().encode(), CIRCUIT_RESULT


def _sample_set(workload: Optimise, answer: SuppliedAnswer) -> bytes:
    if answer.assignment is None:
        raise ResultUnusable("answer: an optimise job takes an assignment")
    kind, given = parse(workload.problem)
    names = kind.variables(given)
    texts = {str(name): name for name in names}
    for what, odd in (
        ("unknown", sorted(set(answer.assignment) - set(texts))),
        ("missing", sorted(set(texts) - set(answer.assignment))),
    ):
        if odd:
            more = f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
            raise ResultUnusable(
                f"answer.assignment: {what} {', '.join(odd[:SHOWN])}{more} "
                f"(allowed: each of the {len(names)} variables of the model)"
            )
    model = kind.formulate(given)
    row = [answer.assignment[str(name)] for name in names]
    found = dimod.SampleSet.from_samples_bqm(
        ([row], list(names)), model.change_vartype(dimod.BINARY, inplace=False), sort_labels=False
    )
    return json.dumps(found.to_serializable()).encode()


def _counted(answer: SuppliedAnswer) -> CircuitResult:
    if answer.counts is None:
        raise ResultUnusable("answer: a sample job takes counts")
    return CircuitResult(
        verb="sample",
        shots=max(sum(register.values()) for register in answer.counts.values())
        if answer.counts
        else 0,
        counts=answer.counts,
    )


def _estimated(workload: Estimate, answer: SuppliedAnswer) -> CircuitResult:
    if answer.values is None or answer.standard_errors is None:
        raise ResultUnusable("answer: an estimate job takes values and standard_errors")
    wanted = len(workload.observables)
    if len(answer.values) != wanted:
        raise ResultUnusable(
            f"answer.values: {len(answer.values)} values (allowed: {wanted}, one for each "
            "observable)"
        )
    return CircuitResult(
        verb="estimate", shots=0, values=answer.values, standard_errors=answer.standard_errors
    )
