"""What happens, in order. Deterministic and thin: decisions are in ``qsaga.core``."""

from workflows.hardware_run import HardwareRun
from workflows.operation import Operation
from workflows.plan_job import PlanJob
from workflows.provider_session import ProviderSession
from workflows.quantum_job import QuantumJob
from workflows.watch import VersionedWatch, Watch

WORKFLOWS = (QuantumJob, HardwareRun, PlanJob, Operation, Watch, ProviderSession)
VERSIONED_WORKFLOWS = tuple(VersionedWatch if kind is Watch else kind for kind in WORKFLOWS)
"""Where workers have versions: all others stay with the version that they began on."""

__all__ = [
    "VERSIONED_WORKFLOWS",
    "WORKFLOWS",
    "HardwareRun",
    "Operation",
    "PlanJob",
    "ProviderSession",
    "QuantumJob",
    "Watch",
]
