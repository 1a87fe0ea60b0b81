"""A worker of the version in which QuantumJob has changed."""

from __future__ import annotations

import composition.workers
import worker
from tests.roles.changed_job import ChangedJob
from workflows.quantum_job import QuantumJob

if __name__ == "__main__":
    kinds = composition.workers.VERSIONED_WORKFLOWS
    composition.workers.VERSIONED_WORKFLOWS = tuple(
        ChangedJob if kind is QuantumJob else kind for kind in kinds
    )
    worker.main()
