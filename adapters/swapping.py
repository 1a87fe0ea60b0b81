"""Swaps that a router put beside a coupling of two qubits, made one with it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from qiskit.circuit.library import CXGate, RZGate
from qiskit.dagcircuit import DAGCircuit
from qiskit.transpiler import TransformationPass

JOINED = frozenset({"rzz", "swap"})


@dataclass
class _Op:
    """``angle`` is of a coupling that has become one with a swap."""

    operation: Any
    qubits: tuple[Any, ...]
    clbits: tuple[Any, ...]
    angle: Any = None
    gone: bool = False


class AbsorbSwaps(TransformationPass):  # type: ignore[misc]
    """RZZ and SWAP on the same qubits become three CX instead of five.

    Qiskit does the same where it knows the angle, by synthesising the block anew (Vidal and Dawson
    2004, arXiv:quant-ph/0307177: three CX make any gate on two qubits). Here the angle may be a
    parameter. Gates on one qubit between the two go to the other side of the swap, and so to the
    other qubit.
    """

    def run(self, dag: DAGCircuit) -> DAGCircuit:
        """The same circuit with fewer gates on two qubits."""
        ops: list[_Op] = []
        last: dict[Any, int] = {}
        between: dict[Any, list[int]] = defaultdict(list)
        for node in dag.topological_op_nodes():
            op = _Op(node.op, tuple(node.qargs), tuple(node.cargs))
            if len(op.qubits) == 1 and not op.clbits and node.is_standard_gate():
                between[op.qubits[0]].append(len(ops))
                ops.append(op)
                continue
            places = {last.get(qubit) for qubit in op.qubits}
            before = (
                ops[place] if len(places) == 1 and (place := places.pop()) is not None else None
            )
            if before is not None and _join(before, op):
                _exchanged([ops[i] for qubit in op.qubits for i in between[qubit]], op.qubits)
                if before.angle is not None:  # the swap came later: where it was, nothing is left
                    first, second = op.qubits
                    between[first], between[second] = between[second], between[first]
                    continue
            for qubit in op.qubits:
                last[qubit] = len(ops)
                between[qubit] = []
            ops.append(op)
        return _written(dag, ops)


def _join(before: _Op, op: _Op) -> bool:
    """Whether the two have become one: the later one where the earlier one was the swap."""
    names = {before.operation.name, op.operation.name}
    alone = before.angle is None and not before.gone
    if names != JOINED or not alone or set(before.qubits) != set(op.qubits):
        return False
    if op.operation.name == "swap":
        before.angle = before.operation.params[0]
    else:
        op.angle, before.gone = op.operation.params[0], True
    return True


def _exchanged(ops: list[_Op], qubits: tuple[Any, ...]) -> None:
    first, second = qubits
    for op in ops:
        op.qubits = (second if op.qubits[0] == first else first,)


def _written(dag: DAGCircuit, ops: list[_Op]) -> DAGCircuit:
    new = dag.copy_empty_like()
    for op in ops:
        if op.angle is not None:
            one, other = op.qubits
            # SWAP after RZZ, the CX that meet in the middle left out.
            new.apply_operation_back(CXGate(), (one, other))
            new.apply_operation_back(RZGate(op.angle), (other,))
            new.apply_operation_back(CXGate(), (other, one))
            new.apply_operation_back(CXGate(), (one, other))
        elif not op.gone:
            new.apply_operation_back(op.operation, op.qubits, op.clbits)
    return new
