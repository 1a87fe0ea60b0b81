"""Any Qiskit ``BackendV2`` behind the port ``QuantumProvider``."""

from adapters.qiskit_backend._provider import BackendV2Provider
from adapters.qiskit_backend._vendor import Vendor, free, time_taken

__all__ = ["BackendV2Provider", "Vendor", "free", "time_taken"]
