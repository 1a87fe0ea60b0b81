"""IBM Quantum behind the port ``QuantumProvider``, through the released qiskit-ibm-runtime."""

from adapters.ibm._compiling import IBMRecompiler, target_of
from adapters.ibm._provider import IBMProvider
from adapters.ibm._table import ROWS, Kind, Row

__all__ = ["ROWS", "IBMProvider", "IBMRecompiler", "Kind", "Row", "target_of"]
