"""From a run spec to measured circuits, and from their counts back to what was asked.

A ``BackendV2`` only samples. Expectation values are taken from measured circuits, one for each
group of Pauli strings that can be measured together qubit by qubit. Let observable o have
coefficients c_P, and let group g be measured with N shots. One shot gives
x = sum of c_P p_P over the strings P of o in g, p_P = ±1 being the parity of the bits on which P
acts. Then

    value           E = c_I + sum over g of mean(x)
    standard error  s = sqrt(sum over g of var(x) / N), var(x) with N - 1 in the denominator
    shots           N = ceil(max over o of sum over g of (sum of |c_P| over o in g)^2 / precision^2)

Since |x| is at most the sum of |c_P|, so is its standard deviation, and N shots give every
observable a standard error of at most the precision. For one shot, var(x) is that bound squared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import PauliList
from qiskit.transpiler import generate_preset_pass_manager

from adapters.compiling import load_circuit
from qsaga.core.contract import Contract
from qsaga.core.errors import CompileError, PermanentProviderError, ResultUnusable
from qsaga.core.ports import CircuitResult, RunSpec, RunVerb

Observable = Mapping[str, float]
_NO_OPERATION = ("barrier", "delay")


class Recipe(Contract):
    """How the counts of a job become its result; kept in the journal.

    Args:
        verb: what was asked.
        shots: of each circuit.
        bits: classical bits of each circuit.
        registers: for ``sample``, name and bits of each classical register.
        observables: for ``estimate``.
        groups: for ``estimate``, the Pauli labels that each circuit measures.
    """

    verb: RunVerb
    shots: int
    bits: int
    registers: tuple[tuple[str, tuple[int, ...]], ...] = ()
    observables: tuple[dict[str, float], ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()

    @property
    def circuits(self) -> int:
        """How many circuits the job has."""
        return len(self.groups) if self.verb == "estimate" else 1


def prepare(
    target: Any, isa_qpy: bytes, layout: tuple[int, ...], spec: RunSpec
) -> tuple[Recipe, list[QuantumCircuit]]:
    """The circuits to run, and how to read their counts.

    Raises PermanentProviderError for what is no circuit, does not fit the target, or measures
    what the verb does not go with.
    """
    try:
        circuit = load_circuit(isa_qpy)
    except CompileError as error:
        raise PermanentProviderError(str(error)) from error
    _fits(circuit, target)
    return (
        _sampled(circuit, spec)
        if spec.verb == "sample"
        else _estimated(circuit, layout, spec, target)
    )


def _fits(circuit: QuantumCircuit, target: Any) -> None:
    if target.num_qubits is not None and circuit.num_qubits > target.num_qubits:
        raise PermanentProviderError(
            f"{circuit.num_qubits} qubits, the backend has {target.num_qubits}"
        )
    for one in circuit.data:
        if one.operation.name in _NO_OPERATION:
            continue
        qubits = tuple(circuit.find_bit(qubit).index for qubit in one.qubits)
        if not target.instruction_supported(one.operation.name, qubits):
            raise PermanentProviderError(
                f"the backend has no {one.operation.name} on qubits {list(qubits)}"
            )


def _sampled(circuit: QuantumCircuit, spec: RunSpec) -> tuple[Recipe, list[QuantumCircuit]]:
    if "measure" not in circuit.count_ops() or not circuit.cregs:
        raise PermanentProviderError("a circuit to sample must measure into a register")
    if spec.shots < 1:
        raise PermanentProviderError(f"{spec.shots} shots")
    registers = tuple(
        (str(register.name), tuple(circuit.find_bit(bit).index for bit in register))
        for register in circuit.cregs
    )
    recipe = Recipe(verb="sample", shots=spec.shots, bits=circuit.num_clbits, registers=registers)
    return recipe, [circuit]


def _estimated(
    circuit: QuantumCircuit, layout: tuple[int, ...], spec: RunSpec, target: Any
) -> tuple[Recipe, list[QuantumCircuit]]:
    if "measure" in circuit.count_ops() or circuit.num_clbits:
        raise PermanentProviderError("a circuit to estimate on must not measure")
    if not spec.observables or not all(spec.observables):
        raise PermanentProviderError("there is nothing to estimate")
    if len(set(layout)) != len(layout) or not set(layout) <= set(range(circuit.num_qubits)):
        raise PermanentProviderError(f"layout {list(layout)} does not fit the circuit")
    labels = list(dict.fromkeys(label for one in spec.observables for label in one))
    if any(len(label) != len(layout) for label in labels):
        raise PermanentProviderError("observables and layout do not have as many qubits")
    groups = _groups(labels)
    recipe = Recipe(
        verb="estimate",
        shots=shots_for(spec, groups),
        bits=len(layout),
        observables=spec.observables,
        groups=groups,
    )
    return recipe, _measured(circuit, layout, groups, target)


def _groups(labels: list[str]) -> tuple[tuple[str, ...], ...]:
    """Pauli labels that can be measured together; all of them identities is one group."""
    telling = [label for label in labels if label.strip("I")]
    if not telling:
        return (tuple(labels),)
    try:
        found = PauliList(telling).group_commuting(qubit_wise=True)
    except QiskitError as error:
        raise PermanentProviderError(f"observables: {error}") from error
    return tuple(tuple(group.to_labels()) for group in found)


def shots_for(spec: RunSpec, groups: tuple[tuple[str, ...], ...]) -> int:
    """Shots of each circuit; ``spec.shots`` where no precision is asked."""
    if spec.precision is None:
        if spec.shots < 1:
            raise PermanentProviderError("neither precision nor shots are given")
        return spec.shots
    if not spec.precision > 0:
        raise PermanentProviderError(f"no number of shots gives a precision of {spec.precision}")
    worst = max(
        sum(_bound(observable, group) ** 2 for group in groups) for observable in spec.observables
    )
    return max(1, math.ceil(worst / spec.precision**2))


def _bound(observable: Observable, group: tuple[str, ...]) -> float:
    return sum(abs(observable.get(label, 0.0)) for label in group if label.strip("I"))


def _measured(
    circuit: QuantumCircuit,
    layout: tuple[int, ...],
    groups: tuple[tuple[str, ...], ...],
    target: Any,
) -> list[QuantumCircuit]:
    """One circuit for each group: rotated to its basis, qubit i of the layout measured to bit i."""
    rotated = []
    for group in groups:
        one = circuit.copy()
        one.add_register(ClassicalRegister(len(layout), "estimate"))
        for index, qubit in enumerate(layout):
            bases = {label[-1 - index] for label in group} - {"I"}
            if bases == {"Y"}:
                one.sdg(qubit)
            if bases & {"X", "Y"}:
                one.h(qubit)
            one.measure(qubit, index)
        rotated.append(one)
    # The qubits are the physical ones already: only the rotations are to be translated.
    passes = generate_preset_pass_manager(
        optimization_level=0, target=target, initial_layout=list(range(circuit.num_qubits))
    )
    try:
        return list(passes.run(rotated))
    except QiskitError as error:
        raise PermanentProviderError(f"the backend cannot measure these: {error}") from error


def read(recipe: Recipe, result: Any) -> CircuitResult:
    """What a ``qiskit.result.Result`` says. Raises ResultUnusable if it has another shape."""
    try:
        if len(result.results) != recipe.circuits:
            raise ResultUnusable(
                f"results of {len(result.results)} circuits, of {recipe.circuits} were expected"
            )
        counts = [_counts(recipe, result.get_counts(index)) for index in range(recipe.circuits)]
    except (QiskitError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultUnusable(
            f"the result has another shape than expected: {type(error).__name__}: {error}"
        ) from error
    return _registers(recipe, counts[0]) if recipe.verb == "sample" else _values(recipe, counts)


def _counts(recipe: Recipe, raw: Mapping[str, Any]) -> dict[str, int]:
    """Counts by bit strings of full length; spaces between registers are left out."""
    counts: dict[str, int] = {}
    for key, times in raw.items():
        # A result that does not say how many bits there are leaves zeros in front away.
        bits = key.replace(" ", "").zfill(recipe.bits)
        if len(bits) != recipe.bits or set(bits) - {"0", "1"} or int(times) != times or times < 0:
            raise ValueError(f"{key!r}: {times} is no count of {recipe.bits} bits")
        counts[bits] = counts.get(bits, 0) + int(times)
    if not sum(counts.values()):
        raise ValueError("not one shot was counted")
    return counts


def _registers(recipe: Recipe, counts: Mapping[str, int]) -> CircuitResult:
    found: dict[str, dict[str, int]] = {}
    for name, indices in recipe.registers:
        register = found.setdefault(name, {})
        for bits, times in counts.items():
            own = "".join(bits[-1 - index] for index in reversed(indices))
            register[own] = register.get(own, 0) + times
    return CircuitResult(verb="sample", shots=sum(counts.values()), counts=found)


def _values(recipe: Recipe, counts: list[dict[str, int]]) -> CircuitResult:
    values, errors = [], []
    for observable in recipe.observables:
        value = sum(c for label, c in observable.items() if not label.strip("I"))
        variance = 0.0
        for group, found in zip(recipe.groups, counts, strict=True):
            mean, spread = _moments(observable, group, found)
            value += mean
            variance += spread
        values.append(float(value))
        errors.append(math.sqrt(variance))
    return CircuitResult(
        verb="estimate",
        shots=recipe.shots * recipe.circuits,
        values=tuple(values),
        standard_errors=tuple(errors),
    )


def _moments(
    observable: Observable, group: tuple[str, ...], counts: Mapping[str, int]
) -> tuple[float, float]:
    """Mean of x, and the variance of that mean."""
    weights = {
        label: observable[label] for label in group if label in observable and label.strip("I")
    }
    shots = sum(counts.values())
    seen = [(_shot(weights, bits), times) for bits, times in counts.items()]
    mean = math.fsum(x * times for x, times in seen) / shots
    if shots == 1:
        return mean, _bound(observable, group) ** 2
    squares = math.fsum(times * (x - mean) ** 2 for x, times in seen)
    return mean, squares / (shots - 1) / shots


def _shot(weights: Observable, bits: str) -> float:
    total = 0.0
    for label, weight in weights.items():
        ones = sum(b == "1" for pauli, b in zip(label, bits, strict=True) if pauli != "I")
        total += -weight if ones % 2 else weight
    return total
