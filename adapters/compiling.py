"""Compiling for any target with Qiskit's preset pass managers: nothing here is of a vendor."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any

from pydantic import JsonValue
from qiskit import QuantumCircuit, qpy
from qiskit.exceptions import QiskitError
from qiskit.transpiler import PassManager, generate_preset_pass_manager

from adapters.circuits import circuit_digest, to_qpy
from adapters.swapping import AbsorbSwaps
from adapters.templates import Lifted, Template, bound, lifted, packed, unpacked
from qsaga.core.caching import Shelf
from qsaga.core.contract import canonical_json, digest
from qsaga.core.errors import CompileError
from qsaga.core.ports import Compiled, RunSpec
from qsaga.core.results import BoundFrom, CircuitFacts

OPTIMIZATION_LEVEL = 3
MOST_EXTRA = 1.05
"""A template may have so many two-qubit gates for each of a circuit that is compiled in full."""
HOPELESS = 1.5
"""So many more are no matter of the seed: the angles made blocks of gates into smaller ones."""
TRIES = 4
"""Seeds that are tried to find such a template."""
PATIENCE = 8.0
"""Seconds after which no further compilation is begun: a provider's call has a limit."""
FORMAT = 1
"""Of templates; rises whenever the same circuit gives another one."""
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

    @cached_property
    def target_digest(self) -> str:
        """Equal for targets that a circuit is compiled for in the same way."""
        return target_digest(self.target)


def load_circuit(data: bytes) -> QuantumCircuit:
    """The one circuit in QPY bytes. Raises CompileError."""
    try:
        circuits = qpy.load(io.BytesIO(data))
    except Exception as error:  # the reader raises whatever the bytes lead it to
        raise CompileError(f"not a circuit in QPY: {type(error).__name__}: {error}") from error
    if len(circuits) != 1 or not isinstance(circuits[0], QuantumCircuit):
        raise CompileError(f"QPY must hold one circuit, not {len(circuits)} programs")
    return circuits[0]


@dataclass(frozen=True)
class _Done:
    """A transpiled circuit."""

    isa: QuantumCircuit
    layout: tuple[int, ...]
    seed: int
    passes: dict[str, JsonValue]
    depth: int
    measurements: int

    def template(self, full: int | None = None) -> Template:
        """To be bound from now on."""
        return Template(
            self.isa,
            self.layout,
            self.seed,
            self.passes,
            self.depth,
            self.measurements,
            full,
        )


def compile_for(
    machine: Machine,
    data: bytes,
    seed: int,
    spec: RunSpec,
    level: int = OPTIMIZATION_LEVEL,
    *,
    shelf: Shelf | None = None,
    rebind: bool = False,
) -> Compiled:
    """Transpile to the machine's ISA; the same input and versions give the same circuit.

    Args:
        machine: to compile for.
        data: the circuit as QPY.
        seed: of the transpiler.
        spec: how the circuit is to be run.
        level: of optimisation, 0 to 3.
        shelf: compiled templates; None compiles in full.
        rebind: as a circuit was compiled that was bound from a template, with the seed that the
            template was compiled with.

    Raises CompileError.
    """
    circuit = load_circuit(data)
    _check(circuit, machine, spec)
    if rebind:
        return _compiled(machine, circuit, level, *_rebound(machine, circuit, seed, level))
    if shelf is None or not (parts := _parts(machine, circuit)):
        return _compiled(machine, circuit, level, _transpiled(machine, circuit, seed, level))
    plain, angles = parts
    key = _key(machine, plain, seed, level)
    template = _known(shelf.get(key))
    hit = template is not None
    full: _Done | None = None
    if template is None:
        full, template = _filled(machine, circuit, parts, seed, level)
        if template is not None:
            kept = packed(template)
            shelf.put(key, kept)
            # As every later one reads it, so that the first circuit is made as they are.
            template = unpacked(kept)
    if template is None or template.isa is None:
        full = full or _transpiled(machine, circuit, seed, level)
        return _compiled(machine, circuit, level, full)
    facts = BoundFrom(
        key=key, from_cache=hit, angles=len(angles), full_two_qubit_gates=template.full
    )
    return _compiled(machine, circuit, level, _put_in(template, angles, circuit), facts)


def _parts(machine: Machine, circuit: QuantumCircuit) -> Lifted | None:
    # Where only some angles are allowed, a gate without one cannot be told to be allowed.
    return None if machine.target.has_angle_bounds() else lifted(circuit)


def _known(kept: bytes | None) -> Template | None:
    try:
        return None if kept is None else unpacked(kept)
    except ValueError:  # of another release: it is made anew
        return None


def _filled(
    machine: Machine, circuit: QuantumCircuit, parts: Lifted, seed: int, level: int
) -> tuple[_Done, Template | None]:
    """The circuit compiled in full, and a template or the word that there is none.

    No template where there was no time to find out.
    """
    began = time.monotonic()
    full = _transpiled(machine, circuit, seed, level)
    plain, angles = parts
    if not angles:
        return full, full.template()
    gates, once = full.isa.num_nonlocal_gates(), time.monotonic() - began
    for another in range(seed, seed + TRIES):
        if time.monotonic() - began + once > PATIENCE:
            return full, None
        try:
            done = _transpiled(machine, plain, another, level)
        except CompileError:  # a pass that cannot do without the angles
            break
        found = done.isa.num_nonlocal_gates()
        if found <= gates * MOST_EXTRA:
            return full, done.template(gates)
        if found > gates * HOPELESS:
            break
    return full, Template(None, full=gates)


def _rebound(
    machine: Machine, circuit: QuantumCircuit, seed: int, level: int
) -> tuple[_Done, BoundFrom]:
    parts = _parts(machine, circuit)
    if parts is None:
        raise CompileError("this circuit is not bound from a template any more")
    plain, angles = parts
    done = _transpiled(machine, plain, seed, level)
    template = unpacked(packed(done.template()))
    facts = BoundFrom(key=_key(machine, plain, seed, level), angles=len(angles))
    return _put_in(template, angles, circuit), facts


def _put_in(template: Template, angles: tuple[float, ...], like: QuantumCircuit) -> _Done:
    if template.isa is None:
        raise AssertionError("a template without a circuit")
    isa = bound(template.isa, angles, like)
    return _Done(
        isa,
        template.layout,
        template.seed,
        template.passes,
        template.depth,
        template.measurements,
    )


def _key(machine: Machine, plain: QuantumCircuit, seed: int, level: int) -> str:
    """Of a template: whatever could make another one of it is in here."""
    described = {
        "backend": machine.name,
        "calibration": machine.calibration_id,
        "target": machine.target_digest,
        "structure": circuit_digest(plain),
        "seed": seed,
        "level": level,
        "options": dict(machine.options),
        "versions": {"qiskit": version("qiskit"), "template": FORMAT, **machine.notes},
    }
    return digest(canonical_json(described))


def _transpiled(machine: Machine, circuit: QuantumCircuit, seed: int, level: int) -> _Done:
    options = {"optimization_level": level, "seed_transpiler": seed, **machine.options}
    used: dict[str, dict[str, None]] = {"layout": {}, "routing": {}}

    def note(*, pass_: Any, **_: Any) -> None:
        kind = type(pass_)
        stage = kind.__module__.removeprefix(_PASSES).partition(".")[0]
        if stage in used:
            used[stage][kind.__name__] = None

    try:
        passes = generate_preset_pass_manager(target=machine.target, **options)
        if circuit.num_parameters:
            passes.pre_translation = PassManager([AbsorbSwaps()])
        isa = passes.run(circuit, callback=note)
    except QiskitError as error:
        raise CompileError(f"does not compile for {machine.name}: {error}") from error
    layout = isa.layout.final_index_layout(filter_ancillas=True) if isa.layout else None
    return _Done(
        isa,
        tuple(range(circuit.num_qubits) if layout is None else layout),
        seed,
        options
        | {"layout_method": "default", "routing_method": "default"}
        | {f"{stage}_passes": list(names) for stage, names in used.items()},
        isa.depth(),
        measurements(isa),
    )


def _compiled(
    machine: Machine,
    circuit: QuantumCircuit,
    level: int,
    done: _Done,
    bound_from: BoundFrom | None = None,
) -> Compiled:
    isa = done.isa
    written = to_qpy(isa)
    return Compiled(
        qpy=written,
        calibration=machine.snapshot,
        facts=CircuitFacts(
            backend=machine.name,
            calibration_id=machine.calibration_id,
            qubits=circuit.num_qubits,
            depth=done.depth,
            two_qubit_gates=isa.num_nonlocal_gates(),
            layout=done.layout,
            seed_transpiler=done.seed,
            optimization_level=level,
            sha256=circuit_digest(isa),
            measurements=done.measurements,
            payload_bytes=len(written),
            transpiler=done.passes | {"qiskit": version("qiskit")} | dict(machine.notes),
            bound_from=bound_from,
        ),
    )


def target_digest(target: Any) -> str:
    """Of what compiling depends on: instructions, their qubits, errors and durations.

    64 hex digits.
    """
    described: list[JsonValue] = []
    for name in sorted(target.operation_names):
        params = repr(getattr(target.operation_from_name(name), "params", ""))
        for qubits, known in (target[name] or {None: None}).items():
            error = getattr(known, "error", None)
            duration = getattr(known, "duration", None)
            described.append([name, params, list(qubits or ()), repr(error), repr(duration)])
    return digest(
        canonical_json([target.num_qubits, repr(target.dt), *sorted(described, key=repr)])
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
