"""Processes forked in milliseconds from one that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

import pytest

from tools.servers import ROOT

PRELOADED = ["tests.support.preloaded"]
"""Imports the whole worker."""


def forks() -> ForkServerContext:
    """One fork server for each process of ours, the same whoever asks first."""
    context: ForkServerContext = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # For the fork server and what it forks only: other tests may follow in this process.
    with pytest.MonkeyPatch.context() as patch:
        # Threads of BLAS would not outlive a fork, and a small worker needs none.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
            patch.setenv(name, "1")
        patch.setenv("QISKIT_PARALLEL", "FALSE")
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        forkserver.ensure_running()
    return context
