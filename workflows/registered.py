"""The workflows that a worker of qsaga runs.

Not in the package itself: a worker that has the sandbox loads a workflow's package anew for each
workflow that is begun, and would load all of these with it, some 15 ms of CPU and a copy in
memory each time.
"""

from workflows.hardware_run import HardwareRun
from workflows.hybrid_loop import HybridLoop
from workflows.operation import Operation
from workflows.plan_job import PlanJob
from workflows.provider_session import ProviderSession
from workflows.quantum_job import QuantumJob
from workflows.watch import VersionedWatch, Watch

WORKFLOWS = (QuantumJob, HardwareRun, HybridLoop, PlanJob, Operation, Watch, ProviderSession)
VERSIONED_WORKFLOWS = tuple(VersionedWatch if kind is Watch else kind for kind in WORKFLOWS)
"""Where workers have versions: all others stay with the version that they began on."""
