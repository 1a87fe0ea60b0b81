"""What happens, in order. Deterministic and thin: decisions are in ``qsaga.core``."""

from workflows.hardware_run import HardwareRun
from workflows.operation import Operation
from workflows.plan_job import PlanJob
from workflows.provider_session import ProviderSession
from workflows.quantum_job import QuantumJob
from workflows.watch import Watch

WORKFLOWS = (QuantumJob, HardwareRun, PlanJob, Operation, Watch, ProviderSession)

__all__ = [
    "WORKFLOWS",
    "HardwareRun",
    "Operation",
    "PlanJob",
    "ProviderSession",
    "QuantumJob",
    "Watch",
]
