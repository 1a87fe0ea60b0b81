"""A large and sparse model that hardly needs any qubits."""

from __future__ import annotations

from random import Random
from typing import Any

import dimod

SIZE, EXTRA = 300, 30


def sparse_problem(seed: int = 115) -> dict[str, Any]:
    """Input of ``qubo``: a weighted tree of 300 spins with 30 more couplings and small fields."""
    random = Random(seed)
    names = [f"v{i}" for i in range(SIZE)]

    def weight() -> float:
        return float(random.choice((-1, 1)) * random.randint(1, 9))

    pairs = {}
    for i in range(1, SIZE):
        pairs[names[random.randrange(i)], names[i]] = weight()
    while len(pairs) < SIZE - 1 + EXTRA:
        u, v = sorted(random.sample(range(SIZE), 2))
        pairs.setdefault((names[u], names[v]), weight())
    return {
        "variables": names,
        "linear": {name: float(random.randint(-3, 3)) for name in names},
        "quadratic": [[u, v, bias] for (u, v), bias in pairs.items()],
        "vartype": "SPIN",
    }


def sparse_model(seed: int = 115) -> dimod.BinaryQuadraticModel:
    """The same as a model."""
    given = sparse_problem(seed)
    pairs = {(u, v): bias for u, v, bias in given["quadratic"]}
    return dimod.BinaryQuadraticModel(given["linear"], pairs, 0.0, "SPIN")
