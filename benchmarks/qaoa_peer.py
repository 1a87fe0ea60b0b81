"""QAOA of another package at its defaults, for benchmarks/qaoa.py, in an environment of its own.

``python -P qaoa_peer.py qiskit-optimization|openqaoa SHOTS``. Reads a line of JSON for each model:
``depth``, and an Ising Hamiltonian as ``fields`` [h, …] and ``pairs`` [[u, v, J], …]. Answers each
with the ``counts`` of bit strings (variable 0 leftmost, 1 where Z is -1) and the ``seconds`` taken.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np


def qiskit_optimization(asked: dict[str, Any], shots: int) -> dict[str, float]:
    """COBYLA from a random point on the reference sampler."""
    from qiskit.primitives import StatevectorSampler
    from qiskit_optimization import QuadraticProgram
    from qiskit_optimization.algorithms import MinimumEigenOptimizer
    from qiskit_optimization.minimum_eigensolvers import QAOA
    from qiskit_optimization.optimizers import COBYLA

    program = QuadraticProgram()
    size = len(asked["fields"])
    program.binary_var_list(size)
    # z = 1 - 2x
    linear = {i: -2 * h for i, h in enumerate(asked["fields"])}
    quadratic = {}
    for u, v, j in asked["pairs"]:
        linear[u] -= 2 * j
        linear[v] -= 2 * j
        quadratic[u, v] = 4 * j
    program.minimize(linear=[linear[i] for i in range(size)], quadratic=quadratic)
    sampler = StatevectorSampler(default_shots=shots)
    solver = MinimumEigenOptimizer(QAOA(sampler, COBYLA(), reps=asked["depth"]))
    found = solver.solve(program)
    return {
        "".join(str(int(x)) for x in sample.x): sample.probability
        for sample in found.raw_samples or ()
    }


def openqaoa(asked: dict[str, Any], shots: int) -> dict[str, float]:
    """COBYLA from a ramp on its vectorised simulator."""
    from openqaoa import QAOA
    from openqaoa.problems import QUBO

    terms = [[i] for i, h in enumerate(asked["fields"]) if h]
    weights = [h for h in asked["fields"] if h]
    terms += [[u, v] for u, v, _ in asked["pairs"]]
    weights += [j for _, _, j in asked["pairs"]]
    solver = QAOA()
    solver.set_circuit_properties(p=asked["depth"])
    solver.compile(QUBO(len(asked["fields"]), terms, weights))
    solver.optimize()
    angles = solver.result.optimized["angles"]
    # Amplitudes, qubit 0 the lowest bit: its default simulator measures exactly.
    amplitudes = np.array(solver.evaluate_circuit(angles)["measurement_results"])
    chances = np.abs(amplitudes) ** 2
    drawn = np.random.default_rng(0).multinomial(shots, chances / chances.sum())
    width = len(asked["fields"])
    return {f"{i:0{width}b}"[::-1]: n / shots for i, n in enumerate(drawn.tolist()) if n}


def main() -> None:
    package, shots = sys.argv[1], int(sys.argv[2])
    solve = {"qiskit-optimization": qiskit_optimization, "openqaoa": openqaoa}[package]
    for line in sys.stdin:
        began = time.perf_counter()
        counts = solve(json.loads(line), shots)
        print(json.dumps({"counts": counts, "seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
