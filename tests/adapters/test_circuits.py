"""Circuits that users supply."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import pytest
from qiskit import QuantumCircuit, qasm3, qpy, transpile
from qiskit.circuit import Parameter
from qiskit.circuit.classical import expr

from adapters.circuits import (
    SHORT,
    SOURCE,
    QiskitCircuitReader,
    RememberingReader,
    circuit_digest,
    from_qpy,
    to_qpy,
)
from qsaga.core.errors import InvalidRequest

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\n'
BELL = HEAD + "h q[0];\ncx q[0], q[1];\n"
MEASURED = HEAD + "bit[2] c;\nh q[0];\ncx q[0], q[1];\nc = measure q;\n"
MID = HEAD + "bit[2] c;\nh q[0];\nc[0] = measure q[0];\ncx q[0], q[1];\nc[1] = measure q[1];\n"

reader = QiskitCircuitReader()


def packed(*circuits: QuantumCircuit) -> str:
    buffer = io.BytesIO()
    qpy.dump(list(circuits), buffer)
    return base64.b64encode(buffer.getvalue()).decode()


def test_qpy_round_trip() -> None:
    circuit = qasm3.loads(MEASURED)
    assert from_qpy(to_qpy(circuit)) == circuit
    with pytest.raises(ValueError, match="not a QPY file"):
        from_qpy(b"QISKIT\x11 nonsense")


def test_sampling() -> None:
    data, qubits = reader.read("qasm3", MEASURED, "sample")
    assert (qubits, [r.name for r in from_qpy(data).cregs]) == (2, ["c"])
    data, _ = reader.read("qasm3", MID, "sample")
    assert from_qpy(data).count_ops()["measure"] == 2


def test_the_same_text_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    loads = qasm3.loads
    monkeypatch.setattr(qasm3, "loads", lambda text: parsed.append(text) or loads(text))
    reader = RememberingReader()
    short = 'OPENQASM 3.0; include "stdgates.inc"; qubit[1] q; bit[1] c; y q[0]; c = measure q;'
    long = f"{short} // {SHORT * '-'}"
    for source in (short, long):
        assert reader.read("qasm3", source, "sample") == reader.read("qasm3", source, "sample")
    assert parsed == [short, long, long]
    QiskitCircuitReader().read("qasm3", short, "sample")
    assert parsed[3:] == [short], "who reproduces a job reads it anew"
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="not readable"):
            reader.read("qasm3", "OPENQASM 3.0; nothing", "sample")


def test_estimating() -> None:
    for source in (BELL, MEASURED):
        data, qubits = reader.read("qasm3", source, "estimate")
        assert qubits == 2
        assert from_qpy(data).num_clbits == 0
        assert dict(from_qpy(data).count_ops()) == {"h": 1, "cx": 1}


def test_qpy_source() -> None:
    circuit = QuantumCircuit(3)
    circuit.h(range(3))
    circuit.measure_all()
    data, qubits = reader.read("qpy", packed(circuit), "sample")
    assert (qubits, from_qpy(data).count_ops()["measure"]) == (3, 3)


def parameterised() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("theta"), 0)
    return circuit


ENDLESS = "1e400"


def with_number(number: float) -> QuantumCircuit:
    circuit = QuantumCircuit(2, 1)
    circuit.rx(number, 0)
    circuit.measure(0, 0)
    return circuit


def within_a_gate(number: float) -> QuantumCircuit:
    own = QuantumCircuit(1, name="own")
    own.rz(number, 0)
    circuit = QuantumCircuit(2, 1)
    circuit.append(own.to_gate().control(1, annotated=True), [0, 1])
    circuit.measure(0, 0)
    return circuit


NOT_FINITE = [
    ("qasm3", MEASURED + f"rx({ENDLESS}) q[0];\n", "'rx'"),
    ("qasm3", MEASURED + f"gphase({ENDLESS});\n", "the global phase"),
    ("qasm3", MEASURED + f"delay[{ENDLESS}s] q[0];\n", "'delay'"),
    ("qasm3", MEASURED + f"gate own a {{ rx({ENDLESS}) a; }}\nown q[0];\n", "'rx'"),
    ("qasm3", MEASURED + f"if (c[0]) {{ rx({ENDLESS}) q[0]; }}\n", "'rx'"),
    ("qpy", packed(with_number(math.nan)), "'rx'"),
    ("qpy", packed(with_number(-math.inf)), "'rx'"),
    ("qpy", packed(within_a_gate(math.nan)), "'rz'"),
]


@pytest.mark.parametrize("verb", ["sample", "estimate"])
@pytest.mark.parametrize(("format", "source", "where"), NOT_FINITE)
def test_numbers_that_are_not_finite(format: str, source: str, where: str, verb: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"{where}.* is not finite") as caught:
        reader.read(format, source, verb)
    assert caught.value.field == SOURCE


REFUSED = [
    ("qasm3", "OPENQASM 3.0;\nqubit q\n", "sample", "not readable OpenQASM 3"),
    ("qasm3", "hello", "sample", "not readable OpenQASM 3"),
    ("qasm3", HEAD + "warp q[0];\n", "sample", "not readable OpenQASM 3"),
    ("qasm3", "OPENQASM 3.0;\n", "sample", "no qubits"),
    ("qasm3", HEAD + "bit[2] c;\nh q[0];\n", "sample", "nothing is measured"),
    ("qasm3", BELL, "sample", "nothing is measured"),
    ("qasm3", MID, "estimate", "measures on its way"),
    ("qasm3", HEAD + "input float theta;\nrx(theta) q[0];\n", "sample", "free parameters: theta"),
    ("qpy", packed(parameterised()), "sample", "free parameters: theta"),
    ("qpy", packed(QuantumCircuit(1), QuantumCircuit(1)), "sample", "2 circuits"),
    ("qpy", base64.b64encode(b"nonsense").decode(), "sample", "not a QPY file"),
    ("qpy", "%%%", "sample", "base64"),
]


@pytest.mark.parametrize(("format", "source", "verb", "problem"), REFUSED)
def test_refused(format: str, source: str, verb: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        reader.read(format, source, "sample" if verb == "sample" else "estimate")
    assert caught.value.field == SOURCE


def conditional(angle: float = 0.3, value: int = 1) -> QuantumCircuit:
    circuit = QuantumCircuit(3, 3)
    sub = QuantumCircuit(2, name="own")
    sub.h(0)
    sub.rzz(angle, 0, 1)
    circuit.append(sub.to_gate(), [0, 2])
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], value)):
        circuit.x(1)
    with circuit.switch(circuit.cregs[0]) as case:
        with case(1, 2):
            circuit.z(2)
        with case(case.DEFAULT):
            circuit.y(2)
    with circuit.if_test(expr.logic_not(circuit.clbits[0])):
        circuit.delay(100, 1, unit="dt")
    return circuit


def test_the_digest_of_a_circuit_is_over_what_it_does() -> None:
    digest = circuit_digest(conditional())
    assert to_qpy(conditional()) != to_qpy(conditional()), "gates and blocks are named anew"
    assert circuit_digest(conditional()) == digest
    assert circuit_digest(from_qpy(to_qpy(conditional()))) == digest
    assert reader.digest(to_qpy(conditional())) == digest
    assert circuit_digest(conditional(angle=0.4)) != digest, "within a gate of its own"
    assert circuit_digest(conditional(value=0)) != digest, "a condition"
    more = conditional()
    more.x(0)
    assert circuit_digest(more) != digest


def test_bytes_hold_no_layout_and_no_counter() -> None:
    source = MEASURED
    first, again = (reader.read("qasm3", source, "sample")[0] for _ in range(2))
    assert first == again
    laid_out = transpile(QuantumCircuit(2), coupling_map=[[0, 1], [1, 2]], initial_layout=[2, 1])
    assert laid_out.layout is not None
    assert from_qpy(to_qpy(laid_out)).layout is None
    assert laid_out.layout is not None, "the circuit itself keeps it"
