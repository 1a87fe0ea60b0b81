"""IBM Quantum behind the port ``QuantumProvider``, through the released qiskit-ibm-runtime."""

from adapters.ibm._compiling import IBMRecompiler
from adapters.ibm._errors import ROWS, Kind, Row
from adapters.ibm._provider import IBMProvider

__all__ = ["ROWS", "IBMProvider", "IBMRecompiler", "Kind", "Row"]
