"""What a backend says about itself: the calibration snapshot that ships with the client."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from .config import BackendSpec, snapshot_root

_STATUS = {
    "online": {"name": "online", "reason": "available"},
    "paused": {"name": "paused", "reason": "paused"},
    "maintenance": {"name": "offline", "reason": "maintenance"},
}


class Snapshot:
    """One backend's documents.

    Args:
        spec: Name to serve and snapshot to serve under it.
    """

    def __init__(self, spec: BackendSpec) -> None:
        folder = snapshot_root() / spec.snapshot
        self.name = spec.name
        self.configuration_path: Path = folder / f"conf_{spec.snapshot}.json"
        self.properties_path: Path = folder / f"props_{spec.snapshot}.json"

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The backend's configuration."""
        document = dict(json.loads(self.configuration_path.read_text()))
        document["backend_name"] = self.name
        return document

    @cached_property
    def properties(self) -> bytes:
        """The backend's properties as JSON text; about a megabyte, so encoded once."""
        document = json.loads(self.properties_path.read_text())
        document["backend_name"] = self.name
        return json.dumps(document, separators=(",", ":")).encode()

    @cached_property
    def updated(self) -> str:
        """Date of the calibration data, ISO 8601."""
        return str(json.loads(self.properties)["last_update_date"])

    @cached_property
    def gates(self) -> dict[str, set[frozenset[int]]]:
        """Gate names to the sets of qubits they act on."""
        found: dict[str, set[frozenset[int]]] = {}
        for gate in json.loads(self.properties)["gates"]:
            found.setdefault(gate["gate"], set()).add(frozenset(gate["qubits"]))
        return found

    def has_gate(self, name: str, qubits: Iterable[int]) -> bool:
        """Whether there is a gate on these qubits, in any order."""
        return frozenset(qubits) in self.gates.get(name, ())

    @property
    def max_shots(self) -> int:
        """Most shots per PUB."""
        return int(self.configuration.get("max_shots") or 100_000)

    def listed(self, pending: int, wait: float, closed_until: float | None) -> dict[str, Any]:
        """Return the entry in the list of backends.

        Args:
            pending: Queued jobs.
            wait: Seconds that a new one is expected to wait.
            closed_until: Until when no jobs are started, infinite when nobody knows; None when
                they are.
        """
        conf = self.configuration
        return {
            "name": self.name,
            "status": _STATUS[closed_text(closed_until)],
            "is_simulator": False,
            "qubits": conf["n_qubits"],
            "physical_qubits": conf["n_qubits"],
            "clops": {"type": "hardware", "value": conf.get("clops_h")},
            "processor_type": conf.get("processor_type"),
            "queue_length": pending,
            "wait_time_seconds": {"average": wait, "p50": wait, "p95": wait},
        }

    def status(self, pending: int, closed_until: float | None) -> dict[str, Any]:
        """Return the answer of the status endpoint; arguments as for :meth:`listed`."""
        name = closed_text(closed_until)
        return {
            "state": closed_until is None,
            "status": "active" if closed_until is None else name,
            "message": _STATUS[name]["reason"],
            "length_queue": pending,
            "backend_version": self.configuration.get("backend_version", "1.0.0"),
        }


def closed_text(until: float | None) -> str:
    """Return ``online``, ``maintenance`` or ``paused`` for the end of a closed time, if any."""
    if until is None:
        return "online"
    return "paused" if until == math.inf else "maintenance"
