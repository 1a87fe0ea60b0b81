"""Compiled once, bound for every set of angles: the same circuit, and never an outdated one."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Parameter, QuantumRegister
from qiskit.circuit.classical import types
from qiskit.circuit.library import CZGate, Measure, RZGate, RZZGate, SXGate, XGate, n_local
from qiskit.quantum_info import Operator
from qiskit.transpiler import CouplingMap, InstructionProperties, Target

from adapters.cache import FolderCache
from adapters.circuits import circuit_digest, from_qpy, to_qpy
from adapters.compiling import Machine, compile_for
from adapters.ibm import IBMProvider, IBMRecompiler
from adapters.templates import MOST_ANGLES, bound, lifted
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.caching import Shelf, shelf_of
from qsaga.core.ports import RunSpec
from tests.adapters.ibm_wire import BACKEND, packed

pytestmark = pytest.mark.timeout(120)
SAMPLE = RunSpec(verb="sample", shots=100)
ROOT = Path(__file__).parents[2]
REBIND = """
import asyncio, hashlib, sys
from pathlib import Path
from adapters.ibm import IBMRecompiler
from qsaga.core.ports import RunSpec
qpy, calibration = (Path(name).read_bytes() for name in sys.argv[1:3])
spec = RunSpec(verb="sample", shots=100)
found = asyncio.run(
    IBMRecompiler().compile(qpy, calibration, int(sys.argv[3]), 3, spec, rebind=True)
)
print(found.facts.sha256, hashlib.sha256(found.qpy).hexdigest())
"""


def rings(angle: float, qubits: int = 4) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits, name="rings")
    circuit.h(range(qubits))
    for layer in (1, 2):
        for qubit in range(qubits):
            circuit.rzz(angle * layer + qubit / 7, qubit, (qubit + 1) % qubits)
        circuit.rx(angle / layer, range(qubits))
    circuit.measure_all()
    return circuit


def line(names: list[str], error: float | None = None) -> Machine:
    target = Target.from_configuration(names, 5, CouplingMap.from_line(5))
    if error is not None:
        properties = InstructionProperties(error=error)
        target.update_instruction_properties("cz", (0, 1), properties)
    return Machine("line", target)


CZ = ["rz", "sx", "x", "cz", "measure"]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(FolderCache(tmp_path / "cache"), "t")


# --- lifting -----------------------------------------------------------------------------------


def test_angles_go_and_come_back() -> None:
    circuit = rings(0.3)
    parts = lifted(circuit)
    assert parts is not None
    plain, angles = parts
    assert len(angles) == plain.num_parameters == 16
    assert circuit_digest(bound(plain, angles, circuit)) == circuit_digest(circuit)
    assert circuit.num_parameters == 0, "the circuit itself stays as it was"


def test_circuits_of_one_structure_differ_in_their_angles_alone() -> None:
    first, second, other = (lifted(rings(*given)) for given in ((0.3,), (0.9,), (0.3, 5)))
    assert first and second and other
    assert circuit_digest(first[0]) == circuit_digest(second[0]) != circuit_digest(other[0])
    assert first[1] != second[1]


@pytest.mark.parametrize("angle", [0.0, math.pi / 2, -math.pi, 3 * math.pi / 4])
def test_special_angles_belong_to_the_structure(angle: float) -> None:
    circuit = QuantumCircuit(1)
    circuit.rz(angle, 0)
    circuit.rz(0.1, 0)
    parts = lifted(circuit)
    assert parts is not None
    assert parts[1] == (0.1,)
    assert parts[0].data[0].operation.params == [angle]


def test_what_stands_in_blocks_and_own_gates_stays() -> None:
    own = QuantumCircuit(1, name="own")
    own.rz(0.3, 0)
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(1, "c"))
    circuit.append(own.to_gate(), [0])
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.rx(0.2, 1)
    circuit.crx(0.7, 0, 1)
    parts = lifted(circuit)
    assert parts is not None
    assert parts[1] == (0.7,)


def test_circuits_that_are_not_lifted() -> None:
    with_variable = QuantumCircuit(1)
    with_variable.add_input("a", types.Bool())
    assert lifted(with_variable) is None
    long = QuantumCircuit(1)
    for number in range(MOST_ANGLES + 1):
        long.rz(0.1 + number, 0)
    assert lifted(long) is None


# --- compiling ---------------------------------------------------------------------------------


def test_the_second_set_of_angles_is_bound_and_means_the_same(shelf: Shelf) -> None:
    machine = line(CZ)
    first = compile_for(machine, to_qpy(rings(0.3)), 7, SAMPLE, shelf=shelf)
    assert first.facts.bound_from is not None
    assert (first.facts.bound_from.from_cache, first.facts.bound_from.angles) == (False, 16)
    for angle in (0.9, 1.7, -0.2):
        circuit = rings(angle)
        found = compile_for(machine, to_qpy(circuit), 7, SAMPLE, shelf=shelf)
        assert found.facts.bound_from is not None
        assert found.facts.bound_from.from_cache
        assert found.facts.bound_from.key == first.facts.bound_from.key
        isa = from_qpy(found.qpy)
        assert isa.num_parameters == 0
        assert (isa.depth(), isa.num_nonlocal_gates()) == (
            found.facts.depth,
            found.facts.two_qubit_gates,
        )
        assert circuit_digest(isa) == found.facts.sha256 != first.facts.sha256
        assert means_the_same(circuit, isa, found.facts.layout)


def means_the_same(circuit: QuantumCircuit, isa: QuantumCircuit, layout: tuple[int, ...]) -> bool:
    """Both prepare the same state from |0...0>, qubit i being physical qubit ``layout[i]``."""
    plain = circuit.remove_final_measurements(inplace=False)
    physical = isa.remove_final_measurements(inplace=False)
    wide = QuantumCircuit(physical.num_qubits)
    wide.compose(plain, list(layout), inplace=True)
    # Only on |0...0>: which qubit is where at the beginning makes no difference then.
    wanted, found = (Operator(one).data[:, 0] for one in (wide, physical))
    return bool(abs(abs(wanted.conj() @ found) - 1) < 1e-9)


@pytest.mark.parametrize(
    "change",
    [
        {"machine": line(CZ, error=0.01)},
        {"machine": line(["rz", "sx", "x", "ecr", "measure"])},
        {"machine": line(CZ), "seed": 8},
        {"machine": line(CZ), "level": 2},
        {"machine": Machine("line", line(CZ).target, calibration_id="newer")},
        {"machine": Machine("other", line(CZ).target)},
        {"machine": Machine("line", line(CZ).target, options={"layout_method": "trivial"})},
        {"machine": Machine("line", line(CZ).target, notes={"client": "2"})},
    ],
    ids=["error", "gates", "seed", "level", "calibration", "backend", "options", "versions"],
)
def test_whatever_could_give_another_circuit_makes_another_key(
    shelf: Shelf, change: dict[str, object]
) -> None:
    data = to_qpy(rings(0.3))
    given = {"machine": line(CZ), "seed": 7, "level": 3}
    compile_for(data=data, spec=SAMPLE, shelf=shelf, **given)  # type: ignore[arg-type]
    again = compile_for(data=data, spec=SAMPLE, shelf=shelf, **given)  # type: ignore[arg-type]
    assert again.facts.bound_from is not None and again.facts.bound_from.from_cache
    other = compile_for(data=data, spec=SAMPLE, shelf=shelf, **(given | change))  # type: ignore[arg-type]
    assert other.facts.bound_from is None or not other.facts.bound_from.from_cache


def test_no_other_tenant_is_served(tmp_path: Path) -> None:
    cache, data = FolderCache(tmp_path), to_qpy(rings(0.3))
    for tenant in ("finance", "research"):
        found = compile_for(line(CZ), data, 7, SAMPLE, shelf=shelf_of(cache, tenant))
        assert found.facts.bound_from is not None and not found.facts.bound_from.from_cache
    nobody = compile_for(line(CZ), data, 7, SAMPLE, shelf=shelf_of(cache, ""))
    assert nobody.facts.bound_from is None


def test_a_circuit_without_angles_is_served_as_it_was_compiled(shelf: Shelf) -> None:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, [1, 2])
    circuit.measure_all()
    plain = compile_for(line(CZ), to_qpy(circuit), 7, SAMPLE)
    for from_cache in (False, True):
        found = compile_for(line(CZ), to_qpy(circuit), 7, SAMPLE, shelf=shelf)
        assert found.facts.bound_from is not None
        assert found.facts.bound_from.from_cache is from_cache
        assert found.facts.sha256 == plain.facts.sha256
        assert found.qpy == plain.qpy


def swapped(angle: float) -> QuantumCircuit:
    """Angles that are known make one block of two qubits: at most three CZ, however long."""
    circuit = QuantumCircuit(2)
    for number in range(6):
        circuit.rzz(angle + number, 0, 1)
        circuit.rxx(angle - number / 3, 0, 1)
        circuit.rx(angle, 0)
    circuit.measure_all()
    return circuit


def test_a_template_with_too_many_gates_is_not_used(shelf: Shelf) -> None:
    for angle in (0.3, 0.4):
        full = compile_for(line(CZ), to_qpy(swapped(angle)), 7, SAMPLE)
        found = compile_for(line(CZ), to_qpy(swapped(angle)), 7, SAMPLE, shelf=shelf)
        assert found.facts == full.facts
        assert found.facts.bound_from is None


@pytest.mark.parametrize("level", [1, 3])
def test_knowing_no_angles_costs_no_gates_here(shelf: Shelf, level: int) -> None:
    for angle in (0.3, 0.4):
        data = to_qpy(rings(angle))
        full = compile_for(line(CZ), data, 7, SAMPLE, level)
        found = compile_for(line(CZ), data, 7, SAMPLE, level, shelf=shelf)
        assert found.facts.bound_from is not None
        assert found.facts.two_qubit_gates <= full.facts.two_qubit_gates


def test_circuits_of_users_are_bound_as_well(shelf: Shelf) -> None:
    ansatz = n_local(5, ["ry", "rz"], "cz", "linear", reps=3)
    for shift in (0.1, 0.2):
        values = [shift + number / 9 for number in range(ansatz.num_parameters)]
        circuit = ansatz.assign_parameters(values)
        circuit.measure_all()
        template = compile_for(line(CZ), to_qpy(circuit), 7, SAMPLE, shelf=shelf).facts.bound_from
        assert template is not None
        assert template.from_cache is (shift > 0.1)


def test_where_there_is_no_time_for_both_ways_nothing_is_kept(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = to_qpy(rings(0.3))
    monkeypatch.setattr("adapters.compiling.PATIENCE", 0.0)
    slow = compile_for(line(CZ), data, 7, SAMPLE, shelf=shelf)
    assert slow.facts == compile_for(line(CZ), data, 7, SAMPLE).facts
    monkeypatch.undo()
    later = compile_for(line(CZ), data, 7, SAMPLE, shelf=shelf)
    assert later.facts.bound_from is not None and not later.facts.bound_from.from_cache


def test_an_entry_of_another_release_is_made_anew(shelf: Shelf, tmp_path: Path) -> None:
    data = to_qpy(rings(0.3))
    first = compile_for(line(CZ), data, 7, SAMPLE, shelf=shelf)
    assert first.facts.bound_from is not None
    shelf.put(first.facts.bound_from.key, b'{"isa": "of another time"}')
    again = compile_for(line(CZ), data, 7, SAMPLE, shelf=shelf)
    assert again == first
    third = compile_for(line(CZ), data, 7, SAMPLE, shelf=shelf)
    assert third.facts.bound_from is not None and third.facts.bound_from.from_cache


def test_where_only_some_angles_are_allowed_circuits_are_compiled_in_full(shelf: Shelf) -> None:
    machine = line([*CZ, "rzz"])
    assert compile_for(machine, to_qpy(rings(0.3)), 7, SAMPLE, shelf=shelf).facts.bound_from
    limited = Target(num_qubits=5)
    for gate in (RZGate(Parameter("a")), SXGate(), XGate(), Measure()):
        limited.add_instruction(gate, {(qubit,): None for qubit in range(5)})
    pairs = {(qubit, qubit + 1): None for qubit in range(4)}
    limited.add_instruction(CZGate(), pairs)
    limited.add_instruction(RZZGate(Parameter("a")), pairs, angle_bounds=[(0, math.pi / 2)])
    assert limited.has_angle_bounds()
    for _ in range(2):
        found = compile_for(
            Machine("limited", limited), to_qpy(rings(0.3)), 7, SAMPLE, 1, shelf=shelf
        )
        assert found.facts.bound_from is None


# --- IBM ---------------------------------------------------------------------------------------


async def test_never_used_after_a_recalibration(
    provider: IBMProvider, emulator: EmulatorProcess, shelf: Shelf
) -> None:
    emulator.control.set_world(
        {"version": 1, "backends": [{"name": BACKEND, "recalibration": {"spread": 0.05}}]}
    )

    async def compiled(angle: float) -> tuple[bool, str, str | None]:
        found = await provider.compile(packed(rings(angle)), BACKEND, 7, SAMPLE, shelf)
        assert found.facts.bound_from is not None
        template = found.facts.bound_from
        return template.from_cache, template.key, found.facts.calibration_id

    hit, key, calibration = await compiled(0.3)
    assert not hit
    assert await compiled(0.4) == (True, key, calibration)
    emulator.control.change_backend(BACKEND, recalibrate=True)
    hit, newer, calibrated = await compiled(0.4)
    assert not hit
    assert newer != key and calibrated != calibration
    assert await compiled(0.5) == (True, newer, calibrated)


async def test_a_bound_circuit_is_made_again_in_every_process(
    provider: IBMProvider, emulator: EmulatorProcess, shelf: Shelf, tmp_path: Path
) -> None:
    await provider.compile(packed(rings(0.3, 12)), BACKEND, 7, SAMPLE, shelf)
    qpy = packed(rings(0.7, 12))
    found = await provider.compile(qpy, BACKEND, 7, SAMPLE, shelf)
    assert found.calibration is not None
    assert found.facts.bound_from is not None and found.facts.bound_from.from_cache
    (tmp_path / "qpy").write_bytes(qpy)
    (tmp_path / "calibration").write_bytes(found.calibration)
    expected = f"{found.facts.sha256} {hashlib.sha256(found.qpy).hexdigest()}"
    seed = found.facts.seed_transpiler
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [
                *(sys.executable, "-c", REBIND),
                *(str(tmp_path / "qpy"), str(tmp_path / "calibration"), str(seed)),
            ],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected
    again = await IBMRecompiler().compile(qpy, found.calibration, seed, 3, SAMPLE, rebind=True)
    assert again.facts.bound_from is not None
    if seed == 7:
        assert again.facts.bound_from.key == found.facts.bound_from.key
