"""What the benchmark of solvers makes of its runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.solver_instances import RANDOM, instances
from benchmarks.solvers import OWN, QSAGA, arguments, judge, measure, table


def runs(*energies: float | None) -> list[dict[str, float | None]]:
    return [{"seed": seed, "energy": energy} for seed, energy in enumerate(energies)]


def measured(best: float | None, **found: tuple[float | None, ...]) -> dict[str, Any]:
    listed = {name: runs(*energies) for name, energies in found.items()}
    return {"instance": "x", "seconds": 1.0, "best": best, "runs": listed}


def test_gaps_are_taken_from_the_published_value_or_the_best_of_the_runs() -> None:
    (known,) = judge([measured(-200.0, qsaga=(-198.0, -200.0), tabu=(-196.0, None))])
    assert known["mean_gap"] == {"qsaga": 0.5, "tabu": 51.0}
    assert (known["rival"], known["no_worse"]) == ("tabu", True)
    (random,) = judge([measured(None, qsaga=(-198.0, -199.0), tabu=(-199.0, -200.0))])
    assert random["best"] == -200
    assert random["mean_gap"]["qsaga"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("ours", "no_worse"),
    # Worse by as much with every seed is no noise; better with one and worse with another is.
    [((-198.0, -198.0, -198.0), False), ((-200.0, -199.0, -196.0), True)],
)
def test_worse_beyond_seed_noise(ours: tuple[float, ...], no_worse: bool) -> None:
    (row,) = judge([measured(-200.0, qsaga=ours, tabu=(-199.0, -199.0, -199.0))])
    assert row["no_worse"] is no_worse


def test_table_marks_the_best_and_what_is_not_published() -> None:
    rows = judge([measured(None, qsaga=(-200.0,), tabu=(-198.0,))])
    text = table(rows, ["qsaga", "tabu"])
    assert "| x * | **0.000** | 1.000 | yes |" in text


def test_published_and_random_instances() -> None:
    (g11, bqp, torus) = instances(["G11", "bqp50-1", "torus-800"])
    assert [one.best for one in (g11, bqp, torus)] == [-564, -2098, None]
    assert list(g11.model.variables) == list(range(800))
    assert set(g11.model.degrees(array=True)) == set(torus.model.degrees(array=True)) == {4}
    again = RANDOM["torus-800"]()
    assert again == torus.model
    planar = RANDOM["planar-800"]()
    assert 4300 < planar.num_interactions <= 2 * (3 * 800 - 6)
    with pytest.raises(ValueError, match="no instance G99"):
        instances(["G99"])


def test_a_cut_costs_its_negative() -> None:
    model = RANDOM["scattered-800"]()
    spins = np.random.default_rng(1).choice([-1, 1], 800)
    heads, tails = np.array(list(model.quadratic)).T
    assert model.energy(spins) == -np.sum(spins[heads] != spins[tails])


@pytest.mark.parametrize("name", list(OWN))
def test_each_solver_of_this_environment_solves_fifty_variables(name: str) -> None:
    (given,) = instances(["bqp50-1"])
    # A part of a second is long, even on a machine that is busy.
    done = measure(given, {name: OWN[name]}, 0.5, 1)
    (run,) = done["runs"][name]
    assert run["energy"] == given.best
    assert run["seconds"] > 0.1


def test_arguments_shorten_the_run() -> None:
    asked = arguments(["--seconds", "1", "--seeds", "2", "--solvers", QSAGA, "tabu"])
    assert (asked.seconds, asked.seeds, asked.solvers) == ([1.0], 2, [QSAGA, "tabu"])
    assert arguments([]).seconds == [1.0, 10.0]
