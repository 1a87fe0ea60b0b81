"""Simulators that all emulators of a campaign or a run of tests share: each would import Qiskit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHARED = "IBM_QUANTUM_EMULATOR_SIMULATORS"


@contextmanager
def shared_simulators() -> Iterator[None]:
    """Emulators that begin meanwhile, here and in processes begun here, take theirs from one.

    It needs seconds to be there; until then they start their own. Where there is one already, as
    for a run of tests that a test begins, that one serves.
    """
    if SHARED in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="simulators-") as folder:
        socket = Path(folder) / "socket"
        process = subprocess.Popen(
            [
                sys.executable,
                *("-m", "ibm_quantum_emulator.cli", "simulators", str(socket)),
                "--exit-with-parent",
            ],
            # Ctrl-C reaches the group; whoever began this decides when it ends.
            start_new_session=True,
        )
        os.environ[SHARED] = str(socket)
        try:
            yield
        finally:
            del os.environ[SHARED]
            # With any that it has forked: one left behind would keep our output open, on which
            # whoever runs the tests may wait.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
