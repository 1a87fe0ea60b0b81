"""Other people's solvers for benchmarks/solvers.py, in an environment of its own.

``python -P solver_peer.py openjij|cp-sat``. Reads lines of JSON: first a model of spins, ``fields``
[h, …] and ``pairs`` [[u, v, J], …], then ``seconds`` and ``seed`` for each run on it; a line with
``fields`` is the next model. Answers each run with ``spins`` (none if nothing was found) and the
``seconds`` and ``cpu`` seconds that it took.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def openjij(model: dict[str, Any], seconds: float, seed: int) -> list[int] | None:
    """Its simulated annealing at its defaults, again and again."""
    from openjij import SASampler

    began = time.perf_counter()
    fields = dict(enumerate(model["fields"]))
    pairs = {(u, v): bias for u, v, bias in model["pairs"]}
    best, lowest, longest = None, float("inf"), 0.0
    while time.perf_counter() - began + longest <= seconds:
        start = time.perf_counter()
        found = SASampler().sample_ising(fields, pairs, num_reads=1, seed=seed)
        longest, seed = max(longest, time.perf_counter() - start), seed + 1000
        in_time = time.perf_counter() - began <= seconds
        if in_time and found.first.energy < lowest:
            best, lowest = found.first.sample, found.first.energy
    return None if best is None else [int(best[place]) for place in fields]


def cp_sat(model: dict[str, Any], seconds: float, seed: int) -> list[int] | None:
    """One worker; a product of two 0/1 variables is a variable of its own."""
    from ortools.sat.python import cp_model

    began = time.perf_counter()
    linear = [2 * bias for bias in model["fields"]]
    program = cp_model.CpModel()
    bits = [program.new_bool_var(f"b{place}") for place in range(len(linear))]
    terms, biases = list(bits), linear
    for u, v, bias in model["pairs"]:
        linear[u] -= 2 * bias
        linear[v] -= 2 * bias
        both = program.new_bool_var("")
        program.add_implication(both, bits[u])
        program.add_implication(both, bits[v])
        program.add_bool_or([both, ~bits[u], ~bits[v]])
        terms.append(both)
        biases.append(4 * bias)
    program.minimize(sum(term * round(bias) for term, bias in zip(terms, biases, strict=True)))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    left = seconds - (time.perf_counter() - began)
    if left <= 0:
        return None
    solver.parameters.max_time_in_seconds = left
    status = solver.solve(program)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    return [2 * solver.value(bit) - 1 for bit in bits]


def main() -> None:
    solve = {"openjij": openjij, "cp-sat": cp_sat}[sys.argv[1]]
    model: dict[str, Any] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if "fields" in asked:
            model = asked
            continue
        began, cpu = time.perf_counter(), time.process_time()
        spins = solve(model, asked["seconds"], asked["seed"])
        took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        print(json.dumps({"spins": spins, **took}), flush=True)


if __name__ == "__main__":
    main()
