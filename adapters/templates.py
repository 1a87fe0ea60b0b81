"""Circuits without their angles: compiled once, bound for every set of angles that follows.

Transpiling takes time and depends, but for a few gates that cancel, on the structure alone. So the
angles of a circuit are lifted out of it, what is left is compiled with parameters in their places,
and any circuit of that structure is had by putting its own angles in.
"""

from __future__ import annotations

import base64
import io
import json
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydantic import JsonValue
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import CircuitInstruction, Parameter

from adapters.circuits import to_qpy

STANDARD = "qiskit.circuit.library.standard_gates"
MOST_ANGLES = 4096
"""A circuit with more angles is compiled as it is."""
SPECIAL, NEAR = math.pi / 4, 1e-12
"""Multiples of it stay numbers: gates of such angles cancel or become cheaper ones."""
DECODED = 64
"""Templates that a process keeps ready to bind."""


@dataclass(frozen=True)
class Template:
    """A compiled circuit with parameters for angles.

    Args:
        isa: the circuit, as it was read back from QPY; None where compiling with parameters
            gives too many two-qubit gates, and so is not to be used.
        layout: ``layout[i]`` is the physical qubit of virtual qubit i.
        seed: of the transpiler.
        passes: what the transpiler did, for ``CircuitFacts.transpiler``.
        depth, measurements: of the circuit, whatever its angles.
        full: two-qubit gates of the first circuit of the structure, compiled with its angles;
            None where the two were not compared.
    """

    isa: QuantumCircuit | None
    layout: tuple[int, ...] = ()
    seed: int = 0
    passes: dict[str, JsonValue] = field(default_factory=dict)
    depth: int = 0
    measurements: int = 0
    full: int | None = None


Lifted = tuple[QuantumCircuit, tuple[float, ...]]
"""A circuit with parameters for its angles, and those angles in their order."""


def lifted(circuit: QuantumCircuit) -> Lifted | None:
    """The circuit with parameters for its angles, and those angles in their order.

    Only angles of standard gates outside of control flow are lifted, and only those that are no
    multiples of pi/4. None where the circuit has variables of its own, or too many angles.
    """
    if circuit.num_identifiers:
        return None
    plain = circuit.copy_empty_like(name="template")
    plain.metadata = {}
    angles: list[float] = []
    for one in circuit.data:
        operation, params = one.operation, [_placed(value, angles) for value in _angles(one)]
        if any(isinstance(param, Parameter) for param in params):
            operation = operation.to_mutable()
            operation.params = params
        # Not append: the instructions were checked when they were read.
        plain._append(one.replace(operation=operation))  # noqa: SLF001
    if len(angles) > MOST_ANGLES:
        return None
    return plain, tuple(angles)


def _angles(one: CircuitInstruction) -> list[Any]:
    operation = one.operation
    kind = getattr(operation, "base_class", type(operation))
    if not kind.__module__.startswith(STANDARD):
        return []
    return list(operation.params)


def _placed(value: Any, angles: list[float]) -> Any:
    if not isinstance(value, int | float) or _special(value):
        return value
    angles.append(float(value))
    # Numbered with leading zeros: Qiskit orders parameters by name.
    return Parameter(f"a{len(angles) - 1:05}")


def _special(angle: float) -> bool:
    return not math.isfinite(angle) or abs(math.remainder(angle, SPECIAL)) < NEAR


def bound(template: QuantumCircuit, angles: tuple[float, ...], like: QuantumCircuit) -> Any:
    """The template with the angles, named as the circuit that they were lifted out of."""
    # Some are gone: a diagonal gate before a measurement changes nothing. In order of their names,
    # as Qiskit has them: three times as fast as by name.
    isa = template.assign_parameters([angles[int(one.name[1:])] for one in template.parameters])
    isa.name, isa.metadata = like.name, like.metadata
    return isa


def packed(template: Template) -> bytes:
    """A template as bytes."""
    isa = template.isa
    return json.dumps(
        {
            "isa": None if isa is None else base64.b64encode(to_qpy(isa)).decode(),
            "layout": template.layout,
            "seed": template.seed,
            "passes": template.passes,
            "depth": template.depth,
            "measurements": template.measurements,
            "full": template.full,
        }
    ).encode()


@lru_cache(maxsize=DECODED)
def unpacked(data: bytes) -> Template:
    """A template from its bytes. Raises ValueError if they are none."""
    try:
        read = json.loads(data)
        source = read["isa"]
        return Template(
            isa=None if source is None else qpy.load(io.BytesIO(base64.b64decode(source)))[0],
            layout=tuple(read["layout"]),
            seed=read["seed"],
            passes=read["passes"],
            depth=read["depth"],
            measurements=read["measurements"],
            full=read["full"],
        )
    except Exception as error:  # the readers raise whatever the bytes lead them to
        raise ValueError(f"not a compiled template: {type(error).__name__}: {error}") from error
