"""Schedules: published instances, the makespan in the model, and what is refused."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from qsaga.core.errors import InvalidRequest, ResultUnusable
from qsaga.core.jobs import Problem
from qsaga.core.results import Confidence
from qsaga.problems import registry, schedules
from qsaga.problems.files import read_problem
from qsaga.problems.job_shop import JobShopInput, Schedule, plan
from qsaga.problems.polish import energies
from tests.problems.planning import job_shop, shortest_makespan
from tests.problems.solving import DATA, refused, solved

KIND = registry.get("job_shop")


def parsed(data: dict[str, Any]) -> JobShopInput:
    _, given = registry.parse(Problem(name="job_shop", data=data))
    assert isinstance(given, JobShopInput)
    return given


def jobs(*rows: list[list[Any]]) -> dict[str, Any]:
    return {"jobs": [{"name": f"j{i}", "steps": steps} for i, steps in enumerate(rows)]}


@pytest.mark.parametrize("seed", range(10))
def test_optimum_of_three_jobs(seed: int) -> None:
    data = job_shop(Random(seed), 3)
    assert solved("job_shop", data).quality.objective == shortest_makespan(data)


@pytest.mark.parametrize(
    ("file", "best", "confidence"),
    [
        ("ft06.jsp", 55, Confidence.BETTER_THAN_BASELINE),
        ("la01.jsp", 666, Confidence.PROVEN_OPTIMAL),
        ("la05.jsp", 593, Confidence.PROVEN_OPTIMAL),
    ],
)
def test_published_instances(file: str, best: float, confidence: Confidence) -> None:
    quality = solved("job_shop", read_problem(DATA / "job_shop" / file).data, seconds=0.2).quality
    assert (quality.objective, quality.confidence) == (best, confidence)


@pytest.mark.parametrize("file", ["ft06.jsp", "ft10.jsp"])
def test_size_before_building(file: str) -> None:
    _, given = registry.parse(read_problem(DATA / "job_shop" / file))
    model = KIND.formulate(given)
    assert KIND.size(given) == (model.num_variables, model.num_interactions)
    assert tuple(model.variables) == KIND.variables(given)


CROSSED = jobs(
    [["a", 4], ["b", 3], ["c", 1]], [["b", 1], ["a", 1], ["c", 3]], [["a", 4], ["b", 4], ["c", 4]]
)
"""Its bound is 12, its best schedule takes 13, that of the dispatching rules 16."""


def sampled(given: JobShopInput, starts: list[int], done: int) -> dict[str, int]:
    """The sample of a schedule that tells a makespan."""
    on = plan(given)
    at = {f"{name}@{start}" for name, start in zip(on.names, starts, strict=True)}
    return {
        name: int(name in at)
        if not name.startswith("makespan@")
        else int(int(name.partition("@")[2]) <= done)
        for name in KIND.variables(given)
    }


@pytest.mark.parametrize("step", [1, 2])
def test_energy_of_a_schedule_is_its_makespan(step: int) -> None:
    given = parsed({**CROSSED, "time_step": step})
    on, model = plan(given), KIND.formulate(given)
    assert on.windows.end > on.windows.least, "there are makespan variables"
    random = np.random.default_rng(4)
    seen = set()
    for _ in range(200):
        coarse = schedules.listed(on.windows.shop, list(random.integers(0, 16, len(on.names))))
        if schedules.makespan(on.windows.shop, coarse) > on.windows.end:
            continue
        starts = [start * step for start in coarse]
        makespan = schedules.makespan(on.shop, starts)
        told = -(-makespan // step) * step
        sample = sampled(given, starts, told)
        solution = KIND.decode(given, sample)
        assert KIND.feasible(given, solution)
        assert KIND.objective(given, solution) == makespan
        assert model.energy(sample) == pytest.approx(told)
        seen.add(makespan)
        # A makespan that is not its own costs, and counts as infeasible.
        for other in {on.windows.least * step, on.windows.end * step} - {told}:
            wrong = sampled(given, starts, other)
            assert not KIND.feasible(given, KIND.decode(given, wrong))
            assert model.energy(wrong) > told
            repaired = KIND.repair(given, KIND.decode(given, wrong))
            assert KIND.feasible(given, repaired)
            assert KIND.objective(given, repaired) <= makespan
    assert len(seen) > 1


def test_samples_and_solutions_agree_on_what_is_feasible() -> None:
    given = parsed({**CROSSED, "time_step": 1, "horizon": 14})
    random, names = np.random.default_rng(5), KIND.variables(given)
    on = plan(given)
    rows = random.integers(0, 2, (200, len(names))).astype(np.int8)
    best = schedules.improved(on.shop, schedules.dispatched(on.shop), 100)
    good = sampled(given, best, schedules.makespan(on.shop, best))
    rows = np.vstack([rows, [[good[name] for name in names]]])
    for column in range(len(names)):
        rows = np.vstack([rows, rows[200]])
        rows[-1, column] ^= 1
    feasible = KIND.feasibles(given, rows)
    objectives = KIND.objectives(given, rows)
    assert feasible[200] and feasible.sum() == 1
    for row, allowed, value in zip(rows, feasible, objectives, strict=True):
        solution = KIND.decode(given, dict(zip(names, row.tolist(), strict=True)))
        assert KIND.feasible(given, solution) == allowed
        assert KIND.objective(given, solution) == value
    model = KIND.formulate(given)
    assert energies(model, rows).argmin() == 200


def test_bounds_and_rules_against_all_schedules() -> None:
    for seed in range(40):
        data = job_shop(Random(seed), 3)
        on, best = plan(parsed(data)), shortest_makespan(data)
        assert on.bound <= best <= schedules.makespan(on.shop, schedules.dispatched(on.shop))
        found = schedules.improved(on.shop, schedules.dispatched(on.shop), 200)
        assert schedules.makespan(on.shop, found) == best


def test_a_job_may_come_back_to_a_machine() -> None:
    data = jobs([["a", 2], ["b", 1], ["a", 2]], [["a", 1], ["a", 1], ["b", 3]])
    assert solved("job_shop", data).quality.objective == shortest_makespan(data)


def test_horizon_that_is_too_short_for_anything_is_proved() -> None:
    refused("job_shop", {**CROSSED, "horizon": 11}, "", "job 'j2' alone takes 12, .* is 11", "")
    busy = jobs([["a", 3]], [["a", 3]])
    refused("job_shop", {**busy, "horizon": 5}, "", "machine 'a' is not done before 6", "")


def test_a_schedule_that_misses_the_horizon_is_the_greedy_one() -> None:
    rows = ([["a", 2], ["b", 1]], [["a", 4], ["b", 2]], [["a", 4], ["b", 2]])
    given = parsed({**jobs(*rows), "horizon": 11})
    never = KIND.decode(given, dict.fromkeys(KIND.variables(given), 0))
    assert KIND.feasible(given, KIND.repair(given, never))


def test_horizon_that_nobody_can_keep_never_gives_a_silent_wrong_answer() -> None:
    best = shortest_makespan(CROSSED)
    bound = plan(parsed(CROSSED)).bound
    assert bound < best, "so that the horizon is not proved to be too short"
    assert solved("job_shop", {**CROSSED, "horizon": int(best)}).quality.objective == best
    with pytest.raises(ResultUnusable, match="no feasible answer found"):
        solved("job_shop", {**CROSSED, "horizon": int(best) - 1})


def test_time_step() -> None:
    data = read_problem(DATA / "job_shop" / "la01.jsp").data
    assert plan(parsed(data)).step == 20
    fine, coarse = (KIND.size(parsed({**data, "time_step": step})) for step in (20, 50))
    assert coarse[0] < fine[0] / 2
    # No multiple of the time step, but exact all the same.
    assert solved("job_shop", {**data, "time_step": 50}).quality.objective == 666


def test_explanation_and_picture() -> None:
    from matplotlib.figure import Figure

    given = parsed(dict(KIND.example))
    solution = KIND.baseline(given)
    assert isinstance(solution, Schedule)
    assert "done at 6" in KIND.explain(given, solution)
    axes = Figure().add_subplot()
    KIND.draw(given, KIND.solution_json(given, solution), axes)
    assert max(bar.get_x() + bar.get_width() for bar in axes.patches) == 6
    assert [label.get_text() for label in axes.get_yticklabels()] == ["saw", "glue", "paint"]


@pytest.mark.parametrize(
    ("data", "path", "problem", "allowed"),
    [
        ({}, "jobs", "missing", ""),
        ({"jobs": []}, "jobs", "0 items", "at least 1"),
        (jobs([]), "jobs.0.steps", "0 items", "at least 1"),
        (jobs([["a", 0]]), "jobs.0.steps.0.duration", "0 is out of range", "at least 1"),
        (jobs([["a", -2]]), "jobs.0.steps.0.duration", "-2 is out of range", "at least 1"),
        (jobs([["a", 1.5]]), "jobs.0.steps.0.duration", "valid integer", ""),
        (jobs([["a"]]), "jobs.0.steps.0.duration", "missing", ""),
        ({"jobs": [*jobs([["a", 1]])["jobs"]] * 2}, "jobs.1", "already given", "once"),
        ({**jobs([["a", 1]]), "horizon": 0}, "horizon", "out of range", "at least 1"),
        (jobs([["a", 1]] * 90, *[[["a", 1]] * 80] * 4), "jobs", "410 steps", "at most 400"),
        (
            {**jobs(*[[[f"m{k}", 900] for k in range(9)]] * 9), "time_step": 1},
            "time_step",
            r"would have [\d,]+ couplings",
            "5,000,000",
        ),
    ],
)
def test_bad_input(data: dict[str, Any], path: str, problem: str, allowed: str) -> None:
    refused("job_shop", data, path, problem, allowed)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "no numbers"),
        ("a heading\n2 2 2\n", 2, "3 numbers"),
        ("2 2\n0 3 1 2\n", 2, "1 lines of jobs, the header says 2"),
        ("1 2\n0 3 1\n", 2, "3 numbers"),
        ("1 2\n0 3 2 1\n", 2, "index 2 is out of range"),
        ("1 2\n0 3 1 0\n", 2, "duration '0'"),
        ("1 2\n0 3 1 -4\n", 2, "duration '-4'"),
        ("1 2\n0 3 1 2.5\n", 2, "duration '2.5'"),
        ("2 3\n0 3 1 2\n1 2 0 4\n", 2, "4 numbers"),
        ("1 1\n0 3 0 2\n", 2, "4 numbers"),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path = tmp_path / "bad.jsp"
    path.write_text(text)
    with pytest.raises(InvalidRequest) as caught:
        read_problem(path)
    assert caught.value.field == f"{path}:{line}"
    assert problem in caught.value.problem
