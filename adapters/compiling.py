"""Compiling for any target with Qiskit's preset pass managers: nothing here is of a vendor."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from pydantic import JsonValue
from qiskit import QuantumCircuit, qpy
from qiskit.exceptions import QiskitError
from qiskit.transpiler import generate_preset_pass_manager

from adapters.circuits import circuit_digest, to_qpy
from qsaga.core.errors import CompileError
from qsaga.core.ports import Compiled, RunSpec
from qsaga.core.results import CircuitFacts

OPTIMIZATION_LEVEL = 3
_PASSES = "qiskit.transpiler.passes."


@dataclass(frozen=True)
class Machine:
    """What a circuit is compiled for.

    Args:
        name: of the backend.
        target: Qiskit's ``Target``.
        calibration_id: of the target.
        snapshot: what the target can be made from again, for a ``Recompiler``.
        options: of ``generate_preset_pass_manager``, beside target, level and seed.
        notes: what else is to be kept with the circuit in ``CircuitFacts.transpiler``.
    """

    name: str
    target: Any
    calibration_id: str | None = None
    snapshot: bytes | None = None
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    notes: Mapping[str, JsonValue] = field(default_factory=dict)


def load_circuit(data: bytes) -> QuantumCircuit:
    """The one circuit in QPY bytes. Raises CompileError."""
    try:
        circuits = qpy.load(io.BytesIO(data))
    except Exception as error:  # the reader raises whatever the bytes lead it to
        raise CompileError(f"not a circuit in QPY: {type(error).__name__}: {error}") from error
    if len(circuits) != 1 or not isinstance(circuits[0], QuantumCircuit):
        raise CompileError(f"QPY must hold one circuit, not {len(circuits)} programs")
    return circuits[0]


def compile_for(
    machine: Machine, data: bytes, seed: int, spec: RunSpec, level: int = OPTIMIZATION_LEVEL
) -> Compiled:
    """Transpile to the machine's ISA; the same input and versions give the same circuit.

    Raises CompileError.
    """
    circuit = load_circuit(data)
    _check(circuit, machine, spec)
    options = {"optimization_level": level, "seed_transpiler": seed, **machine.options}
    used: dict[str, dict[str, None]] = {"layout": {}, "routing": {}}

    def note(*, pass_: Any, **_: Any) -> None:
        kind = type(pass_)
        stage = kind.__module__.removeprefix(_PASSES).partition(".")[0]
        if stage in used:
            used[stage][kind.__name__] = None

    try:
        passes = generate_preset_pass_manager(target=machine.target, **options)
        isa = passes.run(circuit, callback=note)
    except QiskitError as error:
        raise CompileError(f"does not compile for {machine.name}: {error}") from error
    packed = to_qpy(isa)
    layout = isa.layout.final_index_layout(filter_ancillas=True) if isa.layout else None
    return Compiled(
        qpy=packed,
        calibration=machine.snapshot,
        facts=CircuitFacts(
            backend=machine.name,
            calibration_id=machine.calibration_id,
            qubits=circuit.num_qubits,
            depth=isa.depth(),
            two_qubit_gates=isa.num_nonlocal_gates(),
            layout=tuple(range(circuit.num_qubits) if layout is None else layout),
            seed_transpiler=seed,
            optimization_level=level,
            sha256=circuit_digest(isa),
            measurements=measurements(isa),
            payload_bytes=len(packed),
            transpiler=options
            | {"layout_method": "default", "routing_method": "default"}
            | {f"{stage}_passes": list(names) for stage, names in used.items()}
            | {"qiskit": version("qiskit")}
            | dict(machine.notes),
        ),
    )


def measurements(circuit: QuantumCircuit) -> int:
    """How many measure instructions a circuit has, those in the blocks of a condition included."""
    nested = (block for one in circuit.data for block in getattr(one.operation, "blocks", ()))
    return int(circuit.count_ops().get("measure", 0)) + sum(map(measurements, nested))


def _check(circuit: QuantumCircuit, machine: Machine, spec: RunSpec) -> None:
    if circuit.num_parameters:
        names = ", ".join(sorted(p.name for p in circuit.parameters)[:5])
        raise CompileError(f"{circuit.num_parameters} parameters have no value: {names}")
    size = machine.target.num_qubits
    if size is not None and circuit.num_qubits > size:
        raise CompileError(
            f"{circuit.num_qubits} qubits do not fit on {machine.name}, which has {size}"
        )
    measured = "measure" in circuit.count_ops()
    if spec.verb == "sample" and not measured:
        raise CompileError("a circuit to sample must measure")
    if spec.verb == "estimate":
        if measured:
            raise CompileError("a circuit to estimate on must not measure")
        for observable in spec.observables:
            for label in observable:
                if len(label) != circuit.num_qubits:
                    raise CompileError(
                        f"observable {label} is on {len(label)} qubits, "
                        f"the circuit on {circuit.num_qubits}"
                    )
