"""Holds a world document against the backends and instances that there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from . import documents
from .config import BackendSpec
from .documents import DocumentError, Place
from .snapshot import Snapshot
from .worldfile import BackendWorld, World, read_world


def misfits(
    world: World,
    backends: Mapping[str, Snapshot],
    instances: Collection[str] | None = None,
    *,
    complete: bool = True,
) -> list[tuple[Place, str]]:
    """Return place and text of everything that is not there.

    Args:
        backends: The backends that are served.
        instances: Names of the instances; not checked when absent.
        complete: Whether those are all backends; if not, others of the document will be served.
    """
    found: list[tuple[Place, str]] = []
    for number, told in enumerate(world.backends):
        place: Place = ("backends", number)
        snapshot = backends.get(told.name)
        if snapshot is None and complete:
            allowed = ", ".join(backends)
            found.append(((*place, "name"), f"no backend {told.name!r}; there are {allowed}"))
            continue
        if snapshot is None:
            try:
                snapshot = Snapshot(BackendSpec.parse(option(told)))
            except ValueError as error:
                field = "name" if told.snapshot is None else "snapshot"
                found.append(((*place, field), str(error)))
                continue
        found.extend(((*place, *where), text) for where, text in _faulty(told, snapshot))
    for name in world.limits.instances:
        if instances is not None and name not in instances:
            text = f"no instance {name!r}; there are {', '.join(instances)}"
            found.append((("limits", "instances", name), text))
    return found


def option(told: BackendWorld) -> str:
    """Return a backend as the option ``--backend`` takes it."""
    return told.name if told.snapshot is None else f"{told.name}={told.snapshot}"


def read_fitting(
    path: Path, backends: Mapping[str, Snapshot], instances: Collection[str] | None = None
) -> World:
    """Read a world whose backends will be served besides those that are.

    Raises:
        DocumentError: It is wrong, or names what is not there; each problem begins with file and
            line.
    """
    world = read_world(path)
    line_of = documents.json_line if path.suffix.lower() == ".json" else documents.toml_line
    text = path.read_text(encoding="utf-8")
    problems = [
        f"{path}, line {line_of(text, place)}: {spelled(place)}: {told}"
        for place, told in misfits(world, backends, instances, complete=False)
    ]
    if problems:
        raise DocumentError(problems)
    return world


def spelled(place: Place) -> str:
    """Return a place as text."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.lstrip(".")


def _faulty(told: BackendWorld, snapshot: Snapshot) -> list[tuple[Place, str]]:
    found: list[tuple[Place, str]] = []
    qubits = int(snapshot.configuration["n_qubits"])
    for number, each in enumerate(told.faulty):
        place: Place = ("faulty", number)
        if any(not 0 <= qubit < qubits for qubit in each.qubits):
            found.append(((*place, "qubits"), f"the backend has qubits 0 to {qubits - 1}"))
        elif each.gate is not None and not snapshot.has_gate(each.gate, each.qubits):
            allowed = ", ".join(sorted(snapshot.gates))
            text = f"no gate {each.gate!r} on qubits {list(each.qubits)}; gates: {allowed}"
            found.append(((*place, "gate"), text))
    return found
