"""What the server is told at its start."""

from __future__ import annotations

import importlib.util
import os
import re
import uuid
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .faultplan import Plan
from .worldfile import World

NoiseMode = Literal["none", "readout", "full"]

_ACCOUNT = uuid.uuid5(uuid.NAMESPACE_DNS, "emulator.test").hex


class BackendSpec(BaseModel):
    """One backend: the name it is served under and the calibration snapshot behind it."""

    model_config = ConfigDict(frozen=True)

    name: str
    snapshot: str

    @classmethod
    def parse(cls, text: str) -> BackendSpec:
        """Read ``NAME`` or ``NAME=SNAPSHOT``, for instance ``ibm_torino`` or ``my_qpu=torino``.

        Raises:
            ValueError: The snapshot does not ship with the installed client.
        """
        name, _, snapshot = text.partition("=")
        snapshot = snapshot or re.sub(r"^[a-z]+_", "", name)
        known = snapshots()
        if snapshot not in known:
            raise ValueError(f"no calibration snapshot {snapshot!r}; known: {', '.join(known)}")
        return cls(name=name, snapshot=snapshot)


class InstanceSpec(BaseModel):
    """One service instance as the account sees it."""

    model_config = ConfigDict(frozen=True)

    name: str
    plan: str = "open"
    region: str = "us-east"

    @classmethod
    def parse(cls, text: str) -> InstanceSpec:
        """Read ``NAME[:PLAN[:REGION]]``."""
        parts = text.split(":")
        fields = dict(zip(("name", "plan", "region"), parts, strict=False))
        return cls.model_validate(fields)

    @property
    def crn(self) -> str:
        """Cloud resource name; the same for the same name, plan and region."""
        guid = uuid.uuid5(uuid.NAMESPACE_URL, f"{self.name}/{self.plan}/{self.region}")
        return f"crn:v1:bluemix:public:quantum-computing:{self.region}:a/{_ACCOUNT}:{guid}::"

    @property
    def plan_id(self) -> str:
        """Catalog entry of the plan."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"plan/{self.plan}"))


class ServerConfig(BaseModel):
    """All start-up settings.

    Queue, clock, execution model and faults are only *initial* values: once changed through the
    control API they live in the data directory and win over these at the next start, unless
    ``reset_settings`` is set.
    """

    model_config = ConfigDict(frozen=True)

    host: str = "127.0.0.1"
    port: int = 0
    data: Path
    backends: tuple[BackendSpec, ...] = ()
    instances: tuple[InstanceSpec, ...] = (InstanceSpec(name="emulator"),)
    queue_length: int = Field(0, ge=0)
    seconds_per_job: float = Field(60.0, ge=0)
    slots: int = Field(1, ge=1)
    rate: float = Field(1.0, gt=0)
    clock_url: str | None = None
    stepped: bool = False
    noise: NoiseMode = "readout"
    seed: int = 0
    workers: int = Field(2, ge=1)
    simulators: Path | None = None
    max_active_qubits: int = Field(20, ge=1, le=32)
    max_active_qubits_full: int = Field(16, ge=1, le=24)
    simulation_timeout: float = Field(300.0, gt=0)
    overhead_seconds: float = Field(2.0, ge=0)
    seconds_per_shot: float = Field(0.00026, ge=0)
    max_body_bytes: int = 64 * 1024 * 1024
    usage_allocation_seconds: int = 36000
    faults: Plan | None = None
    world: World | None = None
    reset_settings: bool = False
    exit_with_parent: bool = False
    ready_file: Path | None = None

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data / "emulator.sqlite3"


def snapshot_root() -> Path:
    """Folder of the calibration snapshots that ship with the client.

    Found without importing the package, which would cost seconds and 200 MB in the HTTP process.
    """
    spec = importlib.util.find_spec("qiskit_ibm_runtime")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("qiskit-ibm-runtime is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "fake_provider" / "backends"


def snapshots() -> list[str]:
    """Names of the snapshots that have both a configuration and properties."""
    root = snapshot_root()
    return sorted(
        entry.name
        for entry in root.iterdir()
        if (entry / f"conf_{entry.name}.json").exists()
        and (entry / f"props_{entry.name}.json").exists()
    )


def default_data_dir() -> Path:
    """``$IBM_QUANTUM_EMULATOR_DATA`` or ``./.ibm-quantum-emulator``."""
    return Path(os.environ.get("IBM_QUANTUM_EMULATOR_DATA", ".ibm-quantum-emulator"))
