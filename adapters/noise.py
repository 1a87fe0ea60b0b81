"""The noise of a device as it was calibrated, for the simulator of this machine."""

from __future__ import annotations

import warnings
from typing import Any

from qiskit import QuantumCircuit
from qiskit.converters import circuit_to_dag, dag_to_circuit
from qiskit.providers import BackendV2, Options
from qiskit.transpiler import Target
from qiskit.transpiler.passes import RemoveBarriers
from qiskit_aer.noise import NoiseModel

from qsaga.core.errors import SolverError


def noisy(isa: QuantumCircuit, calibration: bytes) -> tuple[QuantumCircuit, NoiseModel]:
    """A compiled circuit on the qubits that it uses, and Aer's model of their noise.

    Depolarising and relaxing gates, and readout errors; neither crosstalk nor what happens to idle
    qubits is in it.

    Args:
        isa: compiled for the backend.
        calibration: of the backend, as ``Compiled.calibration`` has it.

    Raises SolverError where it cannot be read, or not for this circuit.
    """
    from adapters.ibm import target_of  # loads the vendor's client

    try:
        target = target_of(calibration)
    except ValueError as error:
        raise SolverError(f"no noise can be read: {error}") from error
    if isa.has_control_flow_op():
        raise SolverError("noise of circuits with conditions is not simulated")
    small, places = _cut(isa)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # T2 above 2 T1 is cut to it
        return small, NoiseModel.from_backend(_Part(_target_on(target, places)))


def _cut(circuit: QuantumCircuit) -> tuple[QuantumCircuit, list[int]]:
    """A circuit on the qubits that it uses, in their order, and which those are."""
    dag = RemoveBarriers().run(circuit_to_dag(circuit))
    idle = [wire for wire in dag.idle_wires() if wire in dag.qubits]
    places = [place for place, qubit in enumerate(dag.qubits) if qubit not in idle]
    dag.remove_qubits(*idle)
    return dag_to_circuit(dag), places


def _target_on(target: Target, places: list[int]) -> Target:
    """The part of a target on some of its qubits, numbered anew."""
    number = {place: index for index, place in enumerate(places)}
    known = target.qubit_properties
    part = Target(
        num_qubits=len(places),
        dt=target.dt,
        qubit_properties=[known[place] for place in places] if known else None,
    )
    for name in target.operation_names:
        inside = {
            tuple(number[qubit] for qubit in qubits): properties
            for qubits, properties in (target[name] or {}).items()
            if qubits is not None and number.keys() >= set(qubits)
        }
        if inside:
            part.add_instruction(target.operation_from_name(name), inside, name)
    return part


class _Part(BackendV2):  # type: ignore[misc]
    """A target in the only form that Aer reads noise from."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target

    @property
    def target(self) -> Target:
        return self._target

    @property
    def max_circuits(self) -> None:
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input: Any, **options: Any) -> Any:
        raise NotImplementedError("noise is read from it, nothing runs on it")
