"""What a backend says about itself: the calibration snapshot that ships with the client."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from .config import BackendSpec, snapshot_root
from .world import QueueState


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

    @property
    def max_shots(self) -> int:
        """Most shots per PUB."""
        return int(self.configuration.get("max_shots") or 100_000)

    def listed(self, queue: QueueState, pending: int) -> dict[str, Any]:
        """Return the entry in the list of backends."""
        conf = self.configuration
        wait = queue.length * queue.seconds_per_job
        return {
            "name": self.name,
            "status": {"name": "online", "reason": "available"},
            "is_simulator": False,
            "qubits": conf["n_qubits"],
            "physical_qubits": conf["n_qubits"],
            "clops": {"type": "hardware", "value": conf.get("clops_h")},
            "processor_type": conf.get("processor_type"),
            "queue_length": pending,
            "wait_time_seconds": {"average": wait, "p50": wait, "p95": wait},
        }

    def status(self, pending: int) -> dict[str, Any]:
        """Return the answer of the status endpoint."""
        return {
            "state": True,
            "status": "active",
            "message": "available",
            "length_queue": pending,
            "backend_version": self.configuration.get("backend_version", "1.0.0"),
        }
