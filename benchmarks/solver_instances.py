"""Instances of benchmarks/solvers.py: published ones, and seeded random ones of the same kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import dimod
import numpy as np
import numpy.typing as npt
from scipy.spatial import Delaunay

from benchmarks.problems import problem_of, published
from qsaga.problems import registry

PUBLISHED = (
    "G11.txt",
    "G14.txt",
    "qubo/bqp50-1.sparse",
    "qubo/bqp100-1.sparse",
    "qubo/bqp250-1.sparse",
)

Edges = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Instance:
    """A model to be minimised.

    Args:
        name: for people.
        model: spins, labelled from 0.
        best: the lowest energy that is published; None of a random instance.
    """

    name: str
    model: dimod.BinaryQuadraticModel
    best: float | None = None


def torus(rows: int, columns: int, seed: int) -> dimod.BinaryQuadraticModel:
    """Maximum cut of a torus with weights of 1 and -1, like G11 and G32."""
    random = np.random.default_rng(seed)
    places = np.arange(rows * columns).reshape(rows, columns)
    ends = [np.stack([places.ravel(), np.roll(places, -1, axis).ravel()]) for axis in (0, 1)]
    edges = np.concatenate(ends, axis=1)
    return _cut(rows * columns, edges, random.choice([-1.0, 1.0], edges.shape[1]))


def scattered(nodes: int, count: int, seed: int, *, signed: bool) -> dimod.BinaryQuadraticModel:
    """Maximum cut of ``count`` random edges, like G1, G6, G22 and G43."""
    random = np.random.default_rng(seed)
    pairs = np.stack(np.triu_indices(nodes, 1))
    edges = pairs[:, np.sort(random.choice(pairs.shape[1], count, replace=False))]
    return _cut(nodes, edges, _weights(count, random, signed))


def planar(nodes: int, seed: int, *, signed: bool) -> dimod.BinaryQuadraticModel:
    """Maximum cut of two triangulations laid over each other, like G14, G18, G35 and G51."""
    random = np.random.default_rng(seed)
    drawn = [Delaunay(random.random((nodes, 2))).simplices for _ in range(2)]
    corners = np.concatenate(drawn).astype(np.int64)
    sides = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]]])
    edges = np.unique(np.sort(sides, axis=1), axis=0).T
    return _cut(nodes, edges, _weights(edges.shape[1], random, signed))


def binary(size: int, density: float, seed: int) -> dimod.BinaryQuadraticModel:
    """Beasley's kind: this share of the biases is not 0, integers from -100 to 100."""
    random = np.random.default_rng(seed)
    pairs = np.stack(np.triu_indices(size, 1))
    pairs = pairs[:, random.random(pairs.shape[1]) < density]
    # A line off the diagonal counts twice.
    couplings = 2.0 * random.integers(-100, 101, pairs.shape[1])
    fields = random.integers(-100, 101, size) * (random.random(size) < density)
    model = dimod.BinaryQuadraticModel.from_numpy_vectors(
        fields.astype(float), (*pairs, couplings), 0.0, dimod.BINARY
    )
    return model.change_vartype(dimod.SPIN, inplace=False)


RANDOM: dict[str, Callable[[], dimod.BinaryQuadraticModel]] = {
    "torus-800": lambda: torus(20, 40, 101),
    "torus-2000": lambda: torus(40, 50, 102),
    "scattered-800": lambda: scattered(800, 19176, 103, signed=False),
    "scattered-2000": lambda: scattered(2000, 19990, 104, signed=False),
    "scattered-2000-signed": lambda: scattered(2000, 19990, 105, signed=True),
    "planar-800": lambda: planar(800, 106, signed=False),
    "planar-800-signed": lambda: planar(800, 107, signed=True),
    "planar-2000": lambda: planar(2000, 108, signed=False),
    "binary-500": lambda: binary(500, 0.1, 109),
    "binary-1000": lambda: binary(1000, 0.1, 110),
    "dense-300": lambda: binary(300, 1.0, 111),
}


def instances(names: list[str] | None = None) -> list[Instance]:
    """All of them, or those of these names, in the order of the tables."""
    listed: dict[str, Any] = {one["file"]: one for one in published()}
    makers: dict[str, Callable[[], Instance]] = {
        _name(file): partial(_published, listed[file]) for file in PUBLISHED
    }
    makers |= {name: partial(_drawn, name) for name in RANDOM}
    if unknown := set(names or ()) - set(makers):
        raise ValueError(f"no instance {', '.join(sorted(unknown))}: {', '.join(makers)}")
    return [make() for name, make in makers.items() if names is None or name in names]


def _name(file: str) -> str:
    return file.rpartition("/")[2].partition(".")[0]


def _drawn(name: str) -> Instance:
    return Instance(name, RANDOM[name]())


def _published(listed: dict[str, Any]) -> Instance:
    kind, given = registry.parse(problem_of(listed))
    model = kind.formulate(given)
    labels = {name: place for place, name in enumerate(model.variables)}
    spin = model.change_vartype(dimod.SPIN, inplace=False).relabel_variables(labels, inplace=False)
    best = float(listed["best"])
    return Instance(_name(listed["file"]), spin, -best if kind.sense == "maximise" else best)


def _cut(nodes: int, edges: Edges, weights: npt.NDArray[np.float64]) -> dimod.BinaryQuadraticModel:
    return dimod.BinaryQuadraticModel.from_numpy_vectors(
        np.zeros(nodes), (*edges, weights / 2), -float(weights.sum()) / 2, dimod.SPIN
    )


def _weights(count: int, random: np.random.Generator, signed: bool) -> npt.NDArray[np.float64]:
    return random.choice([-1.0, 1.0], count) if signed else np.ones(count)
