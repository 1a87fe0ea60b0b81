"""From what a rung produced to an answer that was checked against the input."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import dimod
import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from qsaga.core.confidence import PROBLEM, Bound, Proof, claim, half_width
from qsaga.core.errors import ResultUnusable
from qsaga.core.jobs import Estimate, Optimise, Sample, Workload
from qsaga.core.ports import CircuitResult
from qsaga.core.reduction import Reduction
from qsaga.core.results import (
    Answer,
    EstimateAnswer,
    Histogram,
    OptimiseAnswer,
    Quality,
    SampleAnswer,
)
from qsaga.problems.base import Bits, Bools, Floats, ProblemInput, ProblemType, distinct
from qsaga.problems.polish import Polisher, descend, energies
from qsaga.problems.proofs import proof_of, rounding
from qsaga.problems.reduction import JOINED, expanded, joined
from qsaga.problems.registry import get, parse

CIRCUIT_RESULT = "application/vnd.qsaga.circuit-result+json"
SAMPLE_SET = "application/vnd.dimod.sampleset+json"

POSTPROCESSING = "verify/3"
"""What ``verify`` is, beside the problem's own decoding and the polisher; rises whenever the same
raw result gives another answer.
"""

MAX_BINS = 30
MOST_CANDIDATES = 256
"""Of the polished samples only so many, lowest energy first, are repaired and checked."""

MOST_IMPROVED = 8
"""Of the feasible solutions only so many, best first, go through the problem's local search."""

REGISTER = "meas"
"""The register that is read where a circuit has several."""


@dataclass(frozen=True)
class Samples:
    """Distinct samples as measured.

    Args:
        bits: 0/1, shape (samples, variables), columns in the model's order.
        repeats: how often each was found, shape (samples,).
        reads: energies of all reads, where a solver reports more than it returns samples.
        proof: what a solver has shown of the model.
    """

    bits: Bits
    repeats: npt.NDArray[np.int64]
    reads: Floats | None = None
    proof: Proof | None = None


def verify(
    workload: Workload,
    model: bytes | None,
    raw: bytes,
    media: str,
    polisher: Polisher = descend,
    reduction: Reduction | None = None,
) -> tuple[Answer, bool]:
    """The best answer in a raw result, and whether polishing made it better than any sample.

    Args:
        workload: what was asked.
        model: dimod BQM file that the rung worked on; None formulates it again.
        raw: a CircuitResult (``CIRCUIT_RESULT``) or a dimod SampleSet (``SAMPLE_SET``), JSON.
        media: which of the two.
        polisher: improves samples; see ``qsaga.problems.polish``.
        reduction: what was taken out of the model before its circuit was built.

    Nothing in here is random: the same raw result always gives the same answer.

    Raises ResultUnusable if the result is malformed, empty, of the wrong width, or if no sample
    leads to a feasible solution.
    """
    if isinstance(workload, Optimise):
        return _optimise(workload, model, raw, media, polisher, reduction)
    if media != CIRCUIT_RESULT:
        raise ResultUnusable(f"a result of type {media} cannot answer {workload.kind}")
    result = _circuit_result(raw)
    if isinstance(workload, Sample):
        return _sample(result), False
    return _estimate(workload, result), False


def postprocessing(
    workload: Workload, polisher: Polisher = descend, reduction: Reduction | None = None
) -> str:
    """Names and versions of what ``verify`` does for a workload."""
    if not isinstance(workload, Optimise):
        return POSTPROCESSING
    kind = get(workload.problem.name)
    polish = getattr(polisher, "__name__", type(polisher).__name__)
    told = f"{POSTPROCESSING}, {kind.decoding}, {polish}"
    several = reduction is not None and len(reduction.components) > 1
    return f"{told}, {JOINED}" if several else told


def _optimise(
    workload: Optimise,
    model: bytes | None,
    raw: bytes,
    media: str,
    polisher: Polisher,
    reduction: Reduction | None,
) -> tuple[OptimiseAnswer, bool]:
    kind, given = parse(workload.problem)
    bqm = kind.formulate(given) if model is None else load_model(model)
    names = kind.variables(given)
    if tuple(bqm.variables) != names:
        raise ResultUnusable("the model's variables are not those of the input")
    counted = media == CIRCUIT_RESULT
    samples = _counted(raw, names, reduction) if counted else _sampled(raw, media, names)
    # No sample of the rung's, so it counts in nothing that is told of those.
    more = joined(bqm, samples.bits, reduction) if counted and reduction else samples.bits[:0]
    objectives = kind.objectives(given, samples.bits)
    feasible = kind.feasibles(given, samples.bits)
    # An infeasible sample takes part polished only: to repair it would be slow and find no more.
    pool = np.vstack([polisher(bqm, np.vstack([samples.bits, more])), samples.bits[feasible]])
    solution = _best(kind, given, bqm, distinct(pool))
    if solution is None:
        raise ResultUnusable("no feasible answer found: no sample can be repaired to one")
    value = kind.objective(given, solution)
    raw_best = _raw_best(kind, objectives, feasible)
    weights = samples.repeats * feasible
    quality = Quality(
        feasible=True,
        objective=value,
        sense=kind.sense,
        raw_best=raw_best,
        raw_mean=float(np.average(objectives, weights=weights)) if weights.any() else None,
        feasible_share=int(np.sum(weights)) / int(np.sum(samples.repeats)),
        histogram=_histogram(kind, samples, objectives, weights),
        **_claimed(kind, given, bqm, value, samples.proof),
    )
    answer = OptimiseAnswer(
        solution=kind.solution_json(given, solution),
        explanation=kind.explain(given, solution),
        quality=quality,
    )
    return answer, raw_best is None or kind.better(value, raw_best)


def _claimed(
    kind: ProblemType[Any, Any],
    given: ProblemInput,
    bqm: dimod.BinaryQuadraticModel,
    value: float,
    proof: Proof | None,
) -> dict[str, Any]:
    """The fields of ``Quality`` that say how good a value is, with what speaks for it."""
    greedy, own = kind.baseline(given), kind.bound(given)
    off = kind.sums(given).of(value)
    bounds = [] if own is None else [Bound(own, PROBLEM, off)]
    searched = None if proof is None else _searched(kind, given, bqm, off, proof)
    if searched is not None and math.isfinite(searched.value):
        bounds.append(searched)
    found = claim(
        value,
        kind.sense,
        bounds=bounds,
        searched=searched is not None,
        baseline=None if greedy is None else kind.objective(given, greedy),
    )
    return vars(found)


def _searched(
    kind: ProblemType[Any, Any],
    given: ProblemInput,
    bqm: dimod.BinaryQuadraticModel,
    off: float,
    proof: Proof,
) -> Bound | None:
    """What a proof about the model says of the problem; None if it says nothing.

    ``off`` is what the answer's objective, as computed, may be off by.
    """
    # The model itself was put together in floating point.
    built = rounding(bqm)
    far = kind.bound_of_energy(given, proof.bound - built)
    near = kind.bound_of_energy(given, proof.bound + proof.loosened + built)
    if far is None or near is None:
        return None
    sums = kind.sums(given)
    if sums.step and not off:
        # Between two multiples of the step there is no objective.
        return Bound(sums.above(far) if kind.sense == "maximise" else sums.below(far), proof.by)
    return Bound(far, proof.by, off, abs(near - far))


def _best(
    kind: ProblemType[Any, Any],
    given: ProblemInput,
    bqm: dimod.BinaryQuadraticModel,
    pool: Bits,
) -> Any:
    """The best feasible solution among samples, repaired where they need it, or None.

    The best ``MOST_IMPROVED`` are improved in the problem's own way before they are compared.
    """
    names = kind.variables(given)
    # The sort is stable, so ties never depend on the machine.
    order = np.argsort(energies(bqm, pool), kind="stable")[:MOST_CANDIDATES]
    found: list[tuple[float, Any]] = []
    for row in pool[order].tolist():
        solution = kind.decode(given, dict(zip(names, row, strict=True)))
        if not kind.feasible(given, solution):
            solution = kind.repair(given, solution)
            if not kind.feasible(given, solution):
                continue
        found.append((kind.objective(given, solution), solution))
    # The sort is stable here as well.
    found.sort(key=lambda one: one[0], reverse=kind.sense == "maximise")
    improved = [kind.improve(given, solution) for _, solution in found[:MOST_IMPROVED]]
    worth = [kind.objective(given, solution) for solution in improved]
    if not improved:
        return None
    return improved[worth.index(max(worth) if kind.sense == "maximise" else min(worth))]


def _raw_best(kind: ProblemType[Any, Any], objectives: Floats, feasible: Bools) -> float | None:
    found = objectives[feasible]
    if not len(found):
        return None
    return float(np.max(found) if kind.sense == "maximise" else np.min(found))


def _histogram(
    kind: ProblemType[Any, Any],
    samples: Samples,
    objectives: Floats,
    weights: npt.NDArray[np.int64],
) -> Histogram | None:
    """Objectives of the feasible samples, or of all reads where a solver lists their energies."""
    values, counts = objectives[weights > 0], weights[weights > 0]
    if samples.reads is not None and len(samples.reads):
        values = kind.objective_of_energy(samples.reads)
        counts = np.ones(len(values), dtype=np.int64)
    if not len(values):
        return None
    low, high = float(np.min(values)), float(np.max(values))
    whole = np.all(values == np.round(values))
    if whole and high - low < MAX_BINS:
        edges = np.arange(low, high + 2) - 0.5
    elif math.isclose(low, high):
        edges = np.array([low - 0.5, high + 0.5])
    else:
        edges = np.linspace(low, high, MAX_BINS + 1)
    found, edges = np.histogram(values, bins=edges, weights=counts)
    return Histogram(
        edges=tuple(float(edge) for edge in edges), counts=tuple(int(count) for count in found)
    )


# --- what rungs produce ----------------------------------------------------------------------


def load_model(data: bytes) -> dimod.BinaryQuadraticModel:
    """A model from the bytes of dimod's file format. Raises ResultUnusable if they are damaged."""
    try:
        model: dimod.BinaryQuadraticModel = dimod.BinaryQuadraticModel.from_file(data)
    except (ValueError, TypeError, KeyError) as error:
        raise ResultUnusable(f"the model cannot be read: {error}") from error
    return model


def dump_model(model: dimod.BinaryQuadraticModel) -> bytes:
    """A model as the bytes of dimod's file format."""
    with model.to_file() as file:
        return bytes(file.read())


def _circuit_result(raw: bytes) -> CircuitResult:
    try:
        return CircuitResult.model_validate_json(raw)
    except ValidationError as error:
        raise ResultUnusable(f"the circuit result cannot be read: {error}") from error


def _register(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    if REGISTER in counts:
        return counts[REGISTER]
    if len(counts) == 1:
        return next(iter(counts.values()))
    raise ResultUnusable(f"no register {REGISTER!r} among {', '.join(sorted(counts)) or 'none'}")


def _check_counts(register: str, counts: dict[str, int], width: int | None = None) -> None:
    if not counts or sum(counts.values()) <= 0:
        raise ResultUnusable(f"register {register!r}: no counts")
    if min(counts.values()) < 0:
        raise ResultUnusable(f"register {register!r}: a negative count")
    wanted = width if width is not None else len(next(iter(counts)))
    for bits in counts:
        if len(bits) != wanted or set(bits) - {"0", "1"}:
            raise ResultUnusable(f"register {register!r}: {bits!r} is not {wanted} bits")


def _counted(raw: bytes, names: tuple[str, ...], reduction: Reduction | None) -> Samples:
    result = _circuit_result(raw)
    counts = {bits: count for bits, count in _register(result.counts).items() if count}
    width = reduction.size.qubits if reduction else len(names)
    _check_counts(REGISTER, counts, width)
    digits = np.frombuffer("".join(counts).encode("ascii"), dtype=np.uint8) - ord("0")
    # Bit 0 is the rightmost character and stands for variable 0.
    bits = digits.reshape(len(counts), width)[:, ::-1].astype(np.int8)
    if reduction is not None:
        bits = expanded(bits, names, reduction)
    return Samples(bits, np.array(list(counts.values()), dtype=np.int64))


def _sampled(raw: bytes, media: str, names: tuple[str, ...]) -> Samples:
    if media != SAMPLE_SET:
        raise ResultUnusable(f"a result of type {media} cannot answer optimise")
    try:
        found: Any = dimod.SampleSet.from_serializable(json.loads(raw))
        reads = np.array(found.info.get("energies", []), dtype=np.float64)
        proof = proof_of(found.info)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ResultUnusable(f"the sample set cannot be read: {error}") from error
    if not len(found):
        raise ResultUnusable("the sample set is empty")
    if set(found.variables) != set(names):
        raise ResultUnusable("the sample set is over other variables than the input")
    if not np.all(np.isfinite(reads)):
        raise ResultUnusable("the sample set reports energies that are not finite")
    columns = [found.variables.index(name) for name in names]
    values = found.record.sample[:, columns]
    bits = (values > 0).astype(np.int8)
    return Samples(bits, found.record.num_occurrences.astype(np.int64), reads, proof)


# --- sample and estimate ---------------------------------------------------------------------


def _sample(result: CircuitResult) -> SampleAnswer:
    if not result.counts:
        raise ResultUnusable("no register was measured")
    for register, counts in result.counts.items():
        _check_counts(register, counts)
        if sum(counts.values()) != result.shots:
            raise ResultUnusable(
                f"register {register!r}: {sum(counts.values())} counts, {result.shots} shots"
            )
    widths = [half_width(counts, result.shots) for counts in result.counts.values()]
    return SampleAnswer(
        counts=result.counts,
        shots=result.shots,
        half_width=max((width for width in widths if width is not None), default=None),
    )


def _estimate(workload: Estimate, result: CircuitResult) -> EstimateAnswer:
    wanted = len(workload.observables)
    if len(result.values) != wanted or len(result.standard_errors) != wanted:
        raise ResultUnusable(
            f"{len(result.values)} values and {len(result.standard_errors)} standard errors "
            f"for {wanted} observables"
        )
    if not all(math.isfinite(value) for value in (*result.values, *result.standard_errors)):
        raise ResultUnusable("a value is not finite")
    if min(result.standard_errors) < 0:
        raise ResultUnusable("a standard error is negative")
    return EstimateAnswer(values=result.values, standard_errors=result.standard_errors)
