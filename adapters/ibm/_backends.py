"""Backends: what they offer, their calibration, and compiling for them."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from qiskit import QuantumCircuit, qpy
from qiskit.exceptions import QiskitError
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import IBMBackend
from qiskit_ibm_runtime.utils.backend_decoder import configuration_from_server_data

from adapters.ibm._account import Connection
from qsaga.core.errors import CompileError, PermanentProviderError, TransientProviderError
from qsaga.core.policy import BackendFacts
from qsaga.core.ports import Compiled, RunSpec
from qsaga.core.results import CircuitFacts

OPTIMIZATION_LEVEL = 3
CALIBRATION_SECONDS = 300.0
"""How long ``backends`` trusts the calibration id that it saw; ``compile`` always asks."""


@dataclass(frozen=True)
class Known:
    """A backend as it was calibrated: the vendor's object with its target, and the id."""

    calibration_id: str
    backend: Any
    connection: Connection


class Backends:
    """Cache of backends by name and calibration; thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}
        self._calibrations: dict[str, tuple[float, str | None]] = {}
        self._lock = threading.Lock()

    def facts(self, connection: Connection, provider: str) -> tuple[BackendFacts, ...]:
        """All backends, by one request, and one more for each calibration not seen of late."""
        found = connection.client.list_backends()
        if not isinstance(found, list):
            raise TransientProviderError("IBM Quantum, backends: the list cannot be read")
        return tuple(
            self._facts_of(connection, provider, raw)
            for raw in found
            if isinstance(raw, dict) and raw.get("class") != "mock"
        )

    def _facts_of(self, connection: Connection, provider: str, raw: dict[str, Any]) -> BackendFacts:
        name = str(raw["name"])
        status = raw.get("status") or {}
        state, reason = str(status.get("name", "unknown")), str(status.get("reason") or "")
        queue = raw.get("queue_length")
        operational = state == "online"
        return BackendFacts(
            name=name,
            provider=provider,
            qubits=int(raw.get("qubits") or 0),
            operational=operational,
            queue_length=max(0, int(queue)) if isinstance(queue, int | float) else None,
            calibration_id=self._seen_calibration(connection, name) if operational else None,
            detail="" if operational else f"{state} {reason}".strip(),
        )

    def _seen_calibration(self, connection: Connection, name: str) -> str | None:
        with self._lock:
            at, seen = self._calibrations.get(name, (float("-inf"), None))
        if time.monotonic() - at < CALIBRATION_SECONDS:
            return seen
        return self._calibration_now(connection, name)

    def _calibration_now(self, connection: Connection, name: str) -> str | None:
        calibration = calibration_of(connection.client.backend_properties(name))
        with self._lock:
            self._calibrations[name] = (time.monotonic(), calibration)
        return calibration

    def known(self, connection: Connection, name: str, *, fresh: bool) -> Known:
        """The vendor's object for a backend.

        Args:
            connection: to ask.
            name: of the backend.
            fresh: ask for the calibration and build the target anew if it changed; otherwise
                any calibration does.
        """
        with self._lock:
            known = self._known.get(name)
        if known is not None and known.connection is connection:
            if not fresh:
                return known
            if known.calibration_id == (self._calibration_now(connection, name) or ""):
                return known
        # The id is read before the target: were the backend calibrated between the two, the next
        # compilation would see another id and build anew, never the other way about.
        calibration = self._calibration_now(connection, name) or ""
        known = Known(calibration, _build(connection, name), connection)
        with self._lock:
            self._known[name] = known
        return known


def _build(connection: Connection, name: str) -> Any:
    raw = connection.client.backend_configuration(name, refresh=True)
    configuration = configuration_from_server_data(raw, instance=connection.instance)
    if configuration is None:
        raise TransientProviderError(f"IBM Quantum: the configuration of {name} cannot be read")
    backend = IBMBackend(
        configuration=configuration,
        service=connection.service,
        api_client=connection.client,
        instance=connection.instance,
    )
    backend.options.use_fractional_gates = False
    if backend.properties() is None:
        raise TransientProviderError(f"IBM Quantum: {name} has no calibration data now")
    # Reading the target here makes it once; later it is shared between threads.
    if backend.target.num_qubits is None:
        raise PermanentProviderError(f"IBM Quantum: {name} does not say how many qubits it has")
    return backend


def calibration_of(properties: Any) -> str | None:
    """The calibration id of raw properties, else the time of their last update in UTC.

    From the raw reply, since the client takes its times for UTC whatever offset they have.
    """
    if not isinstance(properties, dict):
        return None
    if isinstance(properties.get("calibration_id"), str):
        return str(properties["calibration_id"])
    try:
        at = datetime.fromisoformat(str(properties.get("last_update_date")))
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def load_circuit(data: bytes) -> QuantumCircuit:
    """The one circuit in QPY bytes. Raises CompileError."""
    try:
        circuits = qpy.load(io.BytesIO(data))
    except Exception as error:  # the reader raises whatever the bytes lead it to
        raise CompileError(f"not a circuit in QPY: {type(error).__name__}: {error}") from error
    if len(circuits) != 1 or not isinstance(circuits[0], QuantumCircuit):
        raise CompileError(f"QPY must hold one circuit, not {len(circuits)} programs")
    return circuits[0]


def dump_circuit(circuit: QuantumCircuit) -> bytes:
    """A circuit as QPY bytes."""
    buffer = io.BytesIO()
    qpy.dump(circuit, buffer)
    return buffer.getvalue()


def compile_for(known: Known, data: bytes, seed: int, spec: RunSpec) -> Compiled:
    """Transpile to a backend's ISA. Raises CompileError."""
    circuit = load_circuit(data)
    _check(circuit, known.backend, spec)
    try:
        passes = generate_preset_pass_manager(
            optimization_level=OPTIMIZATION_LEVEL, backend=known.backend, seed_transpiler=seed
        )
        isa = passes.run(circuit)
    except QiskitError as error:
        raise CompileError(f"does not compile for {known.backend.name}: {error}") from error
    packed = dump_circuit(isa)
    layout = isa.layout.final_index_layout(filter_ancillas=True) if isa.layout else None
    return Compiled(
        qpy=packed,
        facts=CircuitFacts(
            backend=known.backend.name,
            calibration_id=known.calibration_id or None,
            qubits=circuit.num_qubits,
            depth=isa.depth(),
            two_qubit_gates=isa.num_nonlocal_gates(),
            layout=tuple(range(circuit.num_qubits) if layout is None else layout),
            seed_transpiler=seed,
            optimization_level=OPTIMIZATION_LEVEL,
            sha256=hashlib.sha256(packed).hexdigest(),
        ),
    )


def _check(circuit: QuantumCircuit, backend: Any, spec: RunSpec) -> None:
    if circuit.num_parameters:
        names = ", ".join(sorted(p.name for p in circuit.parameters)[:5])
        raise CompileError(f"{circuit.num_parameters} parameters have no value: {names}")
    if circuit.num_qubits > backend.num_qubits:
        raise CompileError(
            f"{circuit.num_qubits} qubits do not fit on {backend.name}, "
            f"which has {backend.num_qubits}"
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
