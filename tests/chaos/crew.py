"""A stage with several workers, any of which can be killed and replaced."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.chaos.plans import CALL_TIMEOUT, KEY, LISTING_GRACE, RATE
from tools.processes import alive, end, spawn
from tools.servers import ROOT
from tools.stage import READY, Stage, wait_until

BACKEND = "ibm_torino"
QUEUED, SECONDS_PER_JOB, SLOTS = 1, 4 * RATE, 8
"""Jobs in front of ours, and the virtual seconds that each takes: long enough to be cancelled."""
POLICY = ROOT / "qsaga" / "policies" / "default.toml"


class Crew(Stage):
    """Temporal, the emulator at a quick pace, and ``size`` workers on one database.

    Args:
        folder: gets logs and data.
        size: workers.
        client_retries: whether IBM's client repeats its POST requests.
        seed: of the emulator.
    """

    def __init__(self, folder: Path, *, size: int, client_retries: bool, seed: int) -> None:
        emulator: Mapping[str, Any] = {"backend": [BACKEND], "noise": "none", "seed": seed}
        super().__init__(folder, ui=False, deployment="chaos", emulator=emulator)
        self.size, self.client_retries = size, client_retries
        self.kills = 0
        self._crew: dict[int, subprocess.Popen[bytes]] = {}
        self._hired = 0

    def _ibm(self) -> dict[str, str]:
        return super()._ibm() | {
            "token": KEY,
            "call_timeout": str(CALL_TIMEOUT),
            "listing_grace": str(LISTING_GRACE),
            "client_retries": str(self.client_retries).lower(),
        }

    def environment(self) -> dict[str, str]:
        """With a policy that knows how short the queue is, or it would not let jobs queue."""
        direct = {
            # Not through a proxy: behind one, IBM's client takes a dropped connection for the
            # proxy's fault and repeats a POST whatever it is told of repetitions.
            "QISKIT_FUNCTIONS_EXPERIMENTAL": "1",
            "QSAGA_IBM__URL": f"{self.emulator.url}/experimental",
            "QSAGA_IBM__INSTANCE": self.emulator.crn,
            "QSAGA_POLICY_FILE": str(self.folder / "policy.toml"),
        }
        through_proxy = super().environment()
        del through_proxy["QSAGA_IBM__PROXY"]
        return through_proxy | direct

    def start(self) -> Self:
        """Start everything, the workers as well."""
        super().start()
        try:
            (self.folder / "policy.toml").write_text(self.policy())
            self.emulator.control.set_clock("rate", rate=RATE)
            self.emulator.control.set_queue(QUEUED, SECONDS_PER_JOB, slots=SLOTS)
            for place in range(self.size):  # the first makes the database
                self.hire(place)
        except BaseException:
            self.stop()
            raise
        return self

    def policy(self) -> str:
        """The usual one, which knows how short the queue is."""
        text = POLICY.read_text()
        usual = "seconds_per_queued_job = 20.0"
        if usual not in text:
            raise ValueError(f"{POLICY} does not say {usual!r} any more")
        return text.replace(usual, "seconds_per_queued_job = 0.1")

    def hire(self, place: int) -> None:
        """Start a worker and wait until it is ready."""
        self._hired += 1
        log = self.folder / f"worker-{place}-{self._hired}.log"
        command = [sys.executable, str(ROOT / "worker.py")]
        self._crew[place] = process = spawn(command, log, self.environment())

        def ready() -> bool:
            if log.exists() and READY.encode() in log.read_bytes():
                return True
            alive(process, log)
            return False

        wait_until(ready, f"worker {place} is ready", seconds=120, pause=0.1)

    def kill(self, place: int) -> None:
        """``kill -9`` a worker, and start another in its place."""
        end(self._crew.pop(place), signal.SIGKILL)
        self.kills += 1
        self.hire(place)

    def stop(self) -> None:
        """End everything."""
        crew, self._crew = self._crew, {}
        for process in crew.values():
            end(process, signal.SIGKILL)
        super().stop()
