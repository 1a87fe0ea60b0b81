"""Compiling for a backend, from documents that can be kept: now, and again years later."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from qiskit import QuantumCircuit, qpy
from qiskit.exceptions import QiskitError
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import IBMBackend
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
from qiskit_ibm_runtime.utils.backend_decoder import (
    configuration_from_server_data,
    properties_from_server_data,
)

from adapters.circuits import circuit_digest, to_qpy
from qsaga.core.contract import canonical_json
from qsaga.core.errors import CompileError
from qsaga.core.ports import Compiled, RunSpec
from qsaga.core.results import CircuitFacts

OPTIMIZATION_LEVEL = 3
PACKAGES = ("qiskit", "qiskit-ibm-runtime")
_PASSES = "qiskit.transpiler.passes."


@dataclass(frozen=True)
class Calibrated:
    """All that compiling for a backend takes; ``snapshot`` is what it was made from."""

    name: str
    calibration_id: str | None
    target: Any
    snapshot: bytes


@dataclass(frozen=True)
class Decoded:
    """A snapshot in the vendor's classes."""

    configuration: Any
    properties: Any
    calibrated: Calibrated


def kept(
    name: str, calibration: str, configuration: dict[str, Any], properties: dict[str, Any]
) -> bytes:
    """A snapshot: what the service replied, as canonical JSON, some 500 kB for 133 qubits."""
    document = {
        "backend": name,
        "calibration_id": calibration or None,
        "configuration": configuration,
        "properties": properties,
    }
    return canonical_json(document).encode()


def decoded(snapshot: bytes) -> Decoded:
    """Make the target that a snapshot describes. Raises ValueError if it cannot be read."""
    try:
        document = json.loads(snapshot)
        configuration = configuration_from_server_data(document["configuration"])
        properties = properties_from_server_data(document["properties"])
        if configuration is None:
            raise ValueError("the configuration cannot be read")
        calibrated = Calibrated(
            name=document["backend"],
            calibration_id=document["calibration_id"],
            target=convert_to_target(configuration=configuration, properties=properties),
            snapshot=snapshot,
        )
    except Exception as error:  # the decoder raises whatever the documents lead it to
        raise ValueError(f"calibration data: {type(error).__name__}: {error}") from error
    return Decoded(configuration, properties, calibrated)


class IBMRecompiler:
    """Compiles as ``IBMProvider`` did, from the snapshot that was kept (a ``Recompiler``)."""

    async def compile(
        self, qpy: bytes, calibration: bytes, seed: int, level: int, spec: RunSpec
    ) -> Compiled:
        """Compile in a thread; the same input and versions give the same circuit.

        Raises CompileError, also where the snapshot cannot be read.
        """

        def work() -> Compiled:
            try:
                calibrated = decoded(calibration).calibrated
            except ValueError as error:
                raise CompileError(str(error)) from error
            return compile_for(calibrated, qpy, seed, spec, level)

        return await asyncio.to_thread(work)


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
    calibrated: Calibrated,
    data: bytes,
    seed: int,
    spec: RunSpec,
    level: int = OPTIMIZATION_LEVEL,
) -> Compiled:
    """Transpile to a backend's ISA. Raises CompileError."""
    circuit = load_circuit(data)
    _check(circuit, calibrated, spec)
    options = {
        "optimization_level": level,
        "seed_transpiler": seed,
        "translation_method": IBMBackend.get_translation_stage_plugin(None),
    }
    used: dict[str, dict[str, None]] = {"layout": {}, "routing": {}}

    def note(*, pass_: Any, **_: Any) -> None:
        kind = type(pass_)
        stage = kind.__module__.removeprefix(_PASSES).partition(".")[0]
        if stage in used:
            used[stage][kind.__name__] = None

    try:
        passes = generate_preset_pass_manager(target=calibrated.target, **options)
        isa = passes.run(circuit, callback=note)
    except QiskitError as error:
        raise CompileError(f"does not compile for {calibrated.name}: {error}") from error
    packed = to_qpy(isa)
    layout = isa.layout.final_index_layout(filter_ancillas=True) if isa.layout else None
    return Compiled(
        qpy=packed,
        calibration=calibrated.snapshot,
        facts=CircuitFacts(
            backend=calibrated.name,
            calibration_id=calibrated.calibration_id,
            qubits=circuit.num_qubits,
            depth=isa.depth(),
            two_qubit_gates=isa.num_nonlocal_gates(),
            layout=tuple(range(circuit.num_qubits) if layout is None else layout),
            seed_transpiler=seed,
            optimization_level=level,
            sha256=circuit_digest(isa),
            measurements=_measurements(isa),
            payload_bytes=len(packed),
            transpiler=options
            | {"layout_method": "default", "routing_method": "default"}
            | {f"{stage}_passes": list(names) for stage, names in used.items()}
            | {"fractional_gates": False}
            | {package: version(package) for package in PACKAGES},
        ),
    )


def _measurements(circuit: QuantumCircuit) -> int:
    nested = (block for one in circuit.data for block in getattr(one.operation, "blocks", ()))
    return int(circuit.count_ops().get("measure", 0)) + sum(map(_measurements, nested))


def _check(circuit: QuantumCircuit, backend: Calibrated, spec: RunSpec) -> None:
    if circuit.num_parameters:
        names = ", ".join(sorted(p.name for p in circuit.parameters)[:5])
        raise CompileError(f"{circuit.num_parameters} parameters have no value: {names}")
    if circuit.num_qubits > backend.target.num_qubits:
        raise CompileError(
            f"{circuit.num_qubits} qubits do not fit on {backend.name}, "
            f"which has {backend.target.num_qubits}"
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
