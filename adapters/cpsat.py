"""OR-Tools CP-SAT: the optimum of a binary model with a proof, or a bound on it."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from importlib.metadata import version
from typing import Any

import dimod
import numpy as np

from qsaga.core.confidence import Proof
from qsaga.core.errors import SolverError
from qsaga.core.solvers import Searched
from qsaga.problems.polish import descend
from qsaga.problems.proofs import KEPT, WholeModel, whole, with_proof

MOST_TERMS = 20_000
"""Variables and couplings together. More take longer to load than to search in most budgets."""

LINEARIZATION = 2
"""With the linear relaxation of every product, and its cuts: the bound comes from there. Without,
a cubic graph of 60 nodes is not proven in ten seconds; with it, in a tenth of one.
"""

LOOK_SECONDS = 0.05
"""Between two looks at whether to stop and at what to tell."""

TELL_SECONDS = 0.5
"""Better samples are told no more often."""

RESERVE = 0.02
"""Share of the time kept for putting the result together."""

LEAST_SECONDS = 0.05
"""What a search gets at least, should the first import of OR-Tools have used up the time."""


class CpSatSolver:
    """Proves the optimum where it can (implements ``ExactSolver``).

    Products of 0/1 variables are linearised one-sidedly (Glover and Woolsey 1974), biases scaled to
    whole numbers. One worker with one seed makes the same search again, but where time ends it
    depends on the machine.

    Args:
        workers: threads of a search.
    """

    name = "cp-sat"

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers

    def solve(
        self,
        bqm: bytes,
        seconds: float,
        seed: int,
        *,
        start: bytes | None = None,
        better: Callable[[bytes], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Searched:
        """See the port. ``detail`` has ``status``, ``seconds``, ``workers`` and ``branches``.

        Raises SolverError for a model without variables, with more than ``MOST_TERMS`` terms or
        with biases that are not finite.
        """
        began = time.perf_counter()
        model = dimod.BinaryQuadraticModel.from_file(bqm)
        terms = model.num_variables + model.num_interactions
        if not model.num_variables:
            raise SolverError("the model has no variables")
        if terms > MOST_TERMS:
            raise SolverError(
                f"{terms} variables and couplings are {terms - MOST_TERMS} more than CP-SAT is "
                f"given ({MOST_TERMS})"
            )
        search = _Search(model, whole(model), start)
        search.run(began + seconds * (1 - RESERVE), seed, self._workers, better, should_stop)
        return search.told(time.perf_counter() - began, self._workers)


class _Search:
    """One model in CP-SAT's terms, and what is known of it so far."""

    def __init__(
        self, model: dimod.BinaryQuadraticModel, exact: WholeModel, start: bytes | None
    ) -> None:
        from ortools.sat.python import cp_model

        self._by = f"CP-SAT (ortools {version('ortools')})"
        self._model, self._exact = model, exact
        self._rows: deque[tuple[int, ...]] = deque(maxlen=KEPT)
        self._count = 0
        self._least = exact.least
        self._status, self._branches = "UNKNOWN", 0
        self._cp = cp_model.CpModel()
        self._variables = [self._cp.new_bool_var("") for _ in exact.linear]
        self._products = [
            self._product(head, tail, bias)
            for head, tail, bias in zip(exact.heads, exact.tails, exact.biases, strict=True)
        ]
        terms = [*self._variables, *self._products]
        self._cp.minimize(cp_model.LinearExpr.weighted_sum(terms, [*exact.linear, *exact.biases]))
        if start is None:
            # By itself it takes long to find what a descent finds at once.
            nothing = np.zeros((1, model.num_variables), dtype=np.int8)
            self._hint(tuple(descend(model, nothing)[0].tolist()))
        else:
            self._resume(start)

    def _product(self, head: int, tail: int, bias: int) -> Any:
        """A variable that is the product wherever the objective is as low as it can be."""
        product = self._cp.new_bool_var("")
        first, second = self._variables[head], self._variables[tail]
        if bias < 0:
            self._cp.add_implication(product, first)
            self._cp.add_implication(product, second)
        else:
            self._cp.add_bool_or([product, first.negated(), second.negated()])
        return product

    def _resume(self, start: bytes) -> None:
        before = dimod.SampleSet.from_serializable(json.loads(start))
        order = [before.variables.index(name) for name in self._model.variables]
        rows = (before.record.sample[np.argsort(-before.record.energy)][:, order] > 0).astype(int)
        # The best comes last, as it does from the search.
        self._rows.extend(tuple(row) for row in rows.tolist())
        self._hint(self._rows[-1])

    def _hint(self, best: tuple[int, ...]) -> None:
        """Begin the search here."""
        for variable, value in zip(self._variables, best, strict=True):
            self._cp.add_hint(variable, value)
        pairs = zip(self._exact.heads, self._exact.tails, self._products, strict=True)
        for head, tail, product in pairs:
            self._cp.add_hint(product, best[head] * best[tail])

    def run(
        self,
        deadline: float,
        seed: int,
        workers: int,
        better: Callable[[bytes], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        """Search until it is proven, ``deadline``, or until it is to stop."""
        from ortools.sat.python import cp_model

        # A class statement would have a base without types.
        found: Any = type(
            "Found",
            (cp_model.CpSolverSolutionCallback,),
            {"on_solution_callback": lambda callback: self._take(callback.boolean_value)},
        )

        solver = cp_model.CpSolver()
        left = max(deadline - time.perf_counter(), LEAST_SECONDS)
        solver.parameters.max_time_in_seconds = left
        solver.parameters.random_seed = seed
        solver.parameters.num_workers = workers
        solver.parameters.linearization_level = LINEARIZATION
        # In a thread: what is asked and told here may depend on the thread of the caller.
        with ThreadPoolExecutor(1, "cp-sat") as pool:
            work = pool.submit(solver.solve, self._cp, found())
            try:
                self._watch(work, time.perf_counter() + left, better, should_stop, solver)
            finally:
                while not work.done():
                    solver.stop_search()
                    wait([work], LOOK_SECONDS)
        status = work.result()
        self._status, self._branches = solver.status_name(status), solver.num_branches
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            # Else it may not have begun, and the bound that it tells is no more than a zero.
            self._least = max(self._least, math.floor(solver.best_objective_bound))

    def _take(self, value: Callable[[Any], bool]) -> None:
        self._rows.append(tuple(int(value(variable)) for variable in self._variables))
        self._count += 1

    def _watch(
        self,
        work: Future[Any],
        deadline: float,
        better: Callable[[bytes], None] | None,
        should_stop: Callable[[], bool] | None,
        solver: Any,
    ) -> None:
        told, said = 0, float("-inf")
        while not work.done():
            wait([work], LOOK_SECONDS)
            now = time.perf_counter()
            # Its own limit is not looked at while it simplifies the model.
            if now > deadline + LOOK_SECONDS or (should_stop is not None and should_stop()):
                return
            if better is not None and self._count > told and now - said >= TELL_SECONDS:
                told, said = self._count, now
                better(self._samples(self._proof(), {}))

    def told(self, seconds: float, workers: int) -> Searched:
        """All that is known by now."""
        proof = self._proof()
        detail: dict[str, Any] = {
            "status": self._status.lower(),
            "seconds": round(seconds, 3),
            "workers": workers,
            "branches": self._branches,
        }
        return Searched(self._samples(proof, detail) if self._rows else None, proof, detail)

    def _proof(self) -> Proof:
        return Proof(
            bound=self._exact.bound(self._least),
            by=self._by,
            complete=self._status == "OPTIMAL",
            loosened=self._exact.loosened(self._least),
        )

    def _samples(self, proof: Proof, detail: dict[str, Any]) -> bytes:
        bits = np.array(list(dict.fromkeys(self._rows)), dtype=np.int8)
        values = bits if self._model.vartype is dimod.BINARY else 2 * bits - 1
        found = dimod.SampleSet.from_samples_bqm((values, list(self._model.variables)), self._model)
        return with_proof(found.truncate(KEPT, sorted_by="energy"), proof, detail)
