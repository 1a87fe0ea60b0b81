"""The instances of data/published.toml are what they say, as far as that is quick to tell."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.problems import DATA, gap, measure, problem_of, published, table_of
from qsaga.problems import registry


def called(instance: dict[str, Any]) -> str:
    return f"{instance['problem']}-{instance['file']}-{instance.get('set', '')}"


@pytest.mark.parametrize("instance", published(), ids=called)
def test_best_known_value_lies_between_bound_and_greedy(instance: dict[str, Any]) -> None:
    kind, given = registry.parse(problem_of(instance))
    best, bound, greedy = instance["best"], kind.bound(given), kind.baseline(given)
    rounding = 1e-9 * abs(best)
    slack = rounding if kind.sense == "maximise" else -rounding
    if bound is not None:
        assert not kind.better(best, bound + slack)
    if greedy is not None:
        assert not kind.better(kind.objective(given, greedy), best + slack)


def test_every_data_file_is_listed_and_told_of() -> None:
    listed = {instance["file"] for instance in published()}
    files = {str(path.relative_to(DATA)) for path in DATA.rglob("*") if path.is_file()}
    assert files - listed == {"SOURCES.md", "published.toml"}
    told = (DATA / "SOURCES.md").read_text()
    assert not [file for file in listed if f"`{file}`" not in told]


def test_the_bench_measures_what_it_says() -> None:
    instance = next(one for one in published() if one["file"] == "tsp/burma14.tsp")
    row = measure(instance, 0.2, 7)
    assert (row["value"], row["gap_percent"], row["variables"]) == (3323, 0, 169)
    assert row["seconds"]["total"] >= row["seconds"]["anneal"] > 0
    assert table_of([row], "one").row_count == 1


def test_gap() -> None:
    least, most = {"problem": "tsp", "best": 200}, {"problem": "maxcut", "best": 200}
    assert [gap(least, value) for value in (200, 201, 190)] == [0, 0.5, -5]
    assert [gap(most, value) for value in (200, 199, 210)] == [0, 0.5, -5]
