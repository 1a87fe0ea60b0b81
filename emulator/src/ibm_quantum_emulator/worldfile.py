"""The document that describes the world around the emulated account."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from . import documents
from .calibration import Faulty, Recalibration
from .documents import Place
from .limits import LimitsPatch
from .maintenance import Maintenance, Refusal
from .traffic import Constant, Exponential, Lognormal, Pareto, Traffic
from .world import QueueState

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class Queue(QueueState):
    """The simple queue, see :class:`~.world.QueueState`."""

    model_config = _STRICT


class BackendWorld(BaseModel):
    """What happens around one backend.

    Attributes:
        name: Name it is served under.
        snapshot: Calibration snapshot behind it; only read when the server starts.
        queue: The simple queue; without effect while there is traffic.
        traffic: Other people's jobs.
        maintenance: When no jobs are started.
        paused: No jobs are started at all until it is told to go on.
        when_closed: Whether submissions are accepted while no jobs are started.
        recalibration: When its figures change.
        faulty: Qubits and gates that stop working.
    """

    model_config = _STRICT

    name: str = Field(min_length=1)
    snapshot: str | None = None
    queue: Queue | None = None
    traffic: Traffic | None = None
    maintenance: list[Maintenance] = []
    paused: bool = False
    when_closed: Refusal = "accept"
    recalibration: Recalibration | None = None
    faulty: list[Faulty] = []


class WorldLimits(LimitsPatch):
    """Limits of every instance, and by name what differs for single ones."""

    instances: dict[str, LimitsPatch] = {}

    def given_for_all(self) -> dict[str, Any]:
        """Return the fields that hold for every instance."""
        return {name: value for name, value in self.given().items() if name != "instances"}


class World(BaseModel):
    """A world document.

    Attributes:
        version: Of this format.
        seed: Of traffic and calibrations; the server's own when absent.
        backends: Those with anything around them.
        limits: Of the instances.
    """

    model_config = _STRICT

    version: Literal[1]
    seed: int | None = None
    backends: list[BackendWorld] = []
    limits: WorldLimits = WorldLimits()

    @model_validator(mode="after")
    def _differ(self) -> World:
        names = [backend.name for backend in self.backends]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"backends: names must differ; used twice: {', '.join(twice)}")
        return self

    def backend(self, name: str) -> BackendWorld:
        """Return what is said of a backend; nothing special when nothing is."""
        found = [each for each in self.backends if each.name == name]
        return found[0] if found else BackendWorld(name=name)

    def document(self) -> dict[str, Any]:
        """Return the world as a JSON document that reads back as the same world."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"limits"}) | {
            "version": self.version,
            "limits": self.limits.model_dump(mode="json", exclude_unset=True),
        }

    def described(self) -> list[str]:
        """Return one line for each thing it says."""
        lines = [f"seed {self.seed if self.seed is not None else 'of the server'}"]
        for backend in self.backends:
            lines.extend(f"{backend.name}: {line}" for line in _described(backend))
        for name, patch in (("every instance", self.limits), *self.limits.instances.items()):
            given = patch.model_dump(exclude_unset=True, exclude={"instances"})
            if given:
                said = ", ".join(f"{key} {value}" for key, value in given.items())
                lines.append(f"limits of {name}: {said}")
        return lines


def read_world(path: Path) -> World:
    """Read a world from a TOML or JSON file; raises as :func:`~.documents.load` does."""
    return documents.load(path, World, _allowed)


def parse_world(document: Any) -> World:
    """Check a world that was parsed; raises as :func:`~.documents.validated` does."""
    return documents.validated(document, World, _allowed)


def _described(backend: BackendWorld) -> list[str]:
    lines = []
    if (queue := backend.queue) is not None:
        lines.append(f"queue of {queue.length} jobs of {queue.seconds_per_job:g} s")
    if (traffic := backend.traffic) is not None:
        service = traffic.service
        lines.append(
            f"traffic {_rate(traffic)}, {traffic.initial} at first, {service.kind} service of"
            f" {service.mean_seconds:g} s"
        )
    lines.extend(
        f"maintenance {each.model_dump(exclude_unset=True)}, submissions: {backend.when_closed}"
        for each in backend.maintenance
    )
    if backend.paused:
        lines.append(f"paused, submissions: {backend.when_closed}")
    if backend.recalibration is not None:
        lines.append(f"recalibration {backend.recalibration.model_dump(exclude_unset=True)}")
    lines.extend(f"faulty {each.model_dump(exclude_unset=True)}" for each in backend.faulty)
    return lines or ["nothing special"]


def _rate(traffic: Traffic) -> str:
    if traffic.every_seconds is not None:
        return f"every {traffic.every_seconds:g} s"
    if traffic.by_hour is not None:
        return f"{min(traffic.by_hour):g} to {max(traffic.by_hour):g} jobs an hour"
    return f"{traffic.jobs_per_hour:g} jobs an hour"


_TABLES: dict[str, type[BaseModel]] = {
    "queue": Queue,
    "traffic": Traffic,
    "maintenance": Maintenance,
    "recalibration": Recalibration,
    "faulty": Faulty,
}
_SERVICES = {
    "constant": Constant,
    "exponential": Exponential,
    "lognormal": Lognormal,
    "pareto": Pareto,
}


def _allowed(place: Place, value: Any) -> Sequence[str]:
    names = [part for part in place if isinstance(part, str)]
    model: type[BaseModel] = World
    if names[:1] == ["backends"]:
        model = _TABLES.get(names[1], BackendWorld) if len(names) > 1 else BackendWorld
        if names[1:] == ["traffic", "service"]:
            kind = value.get("kind") if isinstance(value, dict) else None
            model = _SERVICES.get(str(kind), Constant)
    elif names[:1] == ["limits"]:
        model = WorldLimits if len(names) == 1 else LimitsPatch
    return list(model.model_fields)
