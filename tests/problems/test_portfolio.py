"""Portfolios: every selection of a published market, units, and what is refused."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Problem
from qsaga.core.results import Confidence
from qsaga.problems import holdings, registry
from qsaga.problems.files import read_problem
from qsaga.problems.portfolio import PortfolioInput, market
from tests.problems.planning import best_portfolio, portfolio
from tests.problems.solving import DATA, refused, solved

KIND = registry.get("portfolio")
PORT1 = DATA / "portfolio" / "port1.txt"


def parsed(data: dict[str, Any]) -> PortfolioInput:
    _, given = registry.parse(Problem(name="portfolio", data=data))
    assert isinstance(given, PortfolioInput)
    return given


@pytest.mark.parametrize("seed", range(10))
def test_optimum_of_up_to_eight_assets(seed: int) -> None:
    data = portfolio(Random(seed), 8)
    assert solved("portfolio", data).quality.objective == pytest.approx(best_portfolio(data))


def test_published_market_against_every_selection() -> None:
    data = {**read_problem(PORT1).data, "choose": 4, "risk_aversion": 0.9}
    on = market(parsed(data))
    chosen = np.array(list(combinations(range(31), 4)))
    risk = on.risk[chosen[:, :, None], chosen[:, None, :]].sum(axis=(1, 2))
    best = float((risk + on.gain[chosen].sum(axis=1)).min())
    quality = solved("portfolio", data, seconds=0.5).quality
    assert quality.objective == pytest.approx(best, rel=1e-9)
    assert quality.bound is not None and quality.bound <= best


def test_bound_proves_a_portfolio_where_return_decides() -> None:
    quality = solved("portfolio", read_problem(PORT1).data, seconds=0.5).quality
    assert quality.confidence is Confidence.PROVEN_OPTIMAL
    assert quality.objective == pytest.approx(-0.0023000618752)


def test_frontier_of_orlib_is_not_undercut() -> None:
    # The end of the unconstrained frontier is the asset with the best return, all of the money.
    given = parsed({**read_problem(PORT1).data, "choose": 1, "risk_aversion": 0.0})
    answer = solved("portfolio", {**read_problem(PORT1).data, "choose": 1, "risk_aversion": 0.0})
    assert answer.solution["weights"] == {"5": 1.0}
    assert answer.solution["expected_return"] == pytest.approx(0.010865)
    assert answer.solution["standard_deviation"] == pytest.approx(0.069105)
    assert holdings.frontier_point(market(given), 0.0) == pytest.approx((0.069105, 0.010865))


def test_units_and_limits() -> None:
    data = {
        "assets": [["a", 0.1], ["b", 0.2], ["c", 0.3]],
        "covariance": [[0.0] * 3] * 3,
        "choose": 2,
        "units": 5,
        "risk_aversion": 0.0,
    }
    assert solved("portfolio", data).solution["weights"] == {"b": 0.2, "c": 0.8}
    assert solved("portfolio", {**data, "most": 3}).solution["weights"] == {"b": 0.4, "c": 0.6}
    given = parsed({**data, "most": 3})
    assert KIND.variables(given)[:3] == ("a", "a@1.0", "a@1.1")
    assert KIND.size(given) == (9, 36)


def test_units_without_the_first_are_no_holding() -> None:
    given = parsed({**dict(KIND.example), "units": 3})
    assert KIND.variables(given) == (
        "steel",
        "steel@1.0",
        "grain",
        "grain@1.0",
        "power",
        "power@1.0",
    )
    bits = np.array([[1, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 1], [1, 1, 0, 1, 1, 0]], dtype=np.int8)
    assert KIND.feasibles(given, bits).tolist() == [True, False, False]
    repaired = KIND.repair(given, ((1, 0), (1, 0), (0, 1)))
    assert KIND.feasible(given, repaired)
    assert repaired[2] == (0, 0)


def test_explanation_and_picture() -> None:
    from matplotlib.figure import Figure

    given = parsed(dict(KIND.example))
    solution = ((1, 0), (1, 0), (0, 0))
    assert "2 of 3 assets, with an expected return of 6.5" in KIND.explain(given, solution)
    axes = Figure().add_subplot()
    KIND.draw(given, KIND.solution_json(given, solution), axes)
    assert {text.get_text() for text in axes.texts} == {"steel", "grain"}
    assert len(axes.lines[0].get_xdata()) > 1, "the frontier"


PAIR = {"assets": [["a", 0.1], ["b", 0.2]], "choose": 1}
UNIT = [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("data", "path", "problem", "allowed"),
    [
        (PAIR, "covariance", "by covariance or by correlation", "one of the two"),
        ({**PAIR, "covariance": UNIT, "correlation": UNIT}, "covariance", "or by", ""),
        ({**PAIR, "covariance": [[1.0, 0.0]]}, "covariance", "1 rows for 2", "a row"),
        ({**PAIR, "covariance": [[1.0, 0.5], [0.0, 1.0]]}, "covariance.0.1", "0.5 in row 0", "sym"),
        (
            {**PAIR, "covariance": [[1.0, 2.0], [2.0, 1.0]]},
            "covariance",
            "negative variance",
            "pos",
        ),
        ({**PAIR, "correlation": UNIT}, "assets.0.deviation", "no deviation beside corr", ""),
        (
            {"assets": [["a", 0.1, 1.0], ["b", 0.2]], "choose": 1, "covariance": UNIT},
            "assets.0.deviation",
            "a deviation beside covariance",
            "",
        ),
        (
            {
                "assets": [["a", 0.1, 1.0], ["b", 0.2, 1.0]],
                "choose": 1,
                "correlation": [[1.0, 0.0], [0.0, 0.9]],
            },
            "correlation.1.1",
            "0.9 on the diagonal",
            "1",
        ),
        (
            {"assets": [["a", 0.1, -1.0], ["b", 0.2, 1.0]], "choose": 1, "correlation": UNIT},
            "assets.0.deviation",
            "-1.0 is out of range",
            "at least 0",
        ),
        ({**PAIR, "covariance": UNIT, "choose": 0}, "choose", "0 is out of range", "at least 1"),
        ({**PAIR, "covariance": UNIT, "choose": 3}, "choose", "3 of 2 assets", "at most all"),
        (
            {**PAIR, "covariance": UNIT, "choose": 2, "units": 1},
            "units",
            "1 units for 2",
            "one for",
        ),
        ({**PAIR, "covariance": UNIT, "units": 9, "most": 8}, "most", "hold less than 9", "higher"),
        ({**PAIR, "covariance": UNIT, "risk_aversion": 1.5}, "risk_aversion", "range", "at most 1"),
        (
            {"assets": [["a", 0.1], ["a", 0.2]], "choose": 1, "covariance": UNIT},
            "assets.1",
            "already given",
            "once",
        ),
    ],
)
def test_bad_input(data: dict[str, Any], path: str, problem: str, allowed: str) -> None:
    refused("portfolio", data, path, problem, allowed)


def test_returns_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "returns.csv"
    path.write_text(
        "# choose: 1\n# risk_aversion: 0.25\n"
        "date,steel,grain\n2024-01-01,0.1,0.0\n2024-02-01,0.3,0.1\n2024-03-01,0.2,0.2\n"
    )
    problem = read_problem(path)
    assert problem.name == "portfolio"
    given = parsed(problem.data)
    assert (given.choose, given.risk_aversion) == (1, 0.25)
    assert [asset.expected for asset in given.assets] == pytest.approx([0.2, 0.1])
    assert given.covariance[0] == pytest.approx((0.01, 0.005))
    assert solved("portfolio", problem.data).solution["weights"] == {"steel": 1.0}


@pytest.mark.parametrize(
    ("name", "text", "line", "problem"),
    [
        ("r.csv", "date,a,b\n1,0.1,0.2\n", 1, "1 dates"),
        ("r.csv", "date,a,b\n1,0.1,0.2\n2,0.1\n", 3, "2 values"),
        ("r.csv", "date,a,b\n1,0.1,0.2\n2,0.1,n/a\n", 3, "'n/a' is no number"),
        ("r.csv", "# choose: some\ndate,a,b\n1,1,2\n2,0,3\n", 1, "'some' is no number"),
        ("r.csv", "# sectors: 2\ndate,a,b\n1,1,2\n2,0,3\n", 1, "'sectors' cannot be set"),
        ("r.csv", "day,a,b\n1,1,2\n2,0,3\n", 1, "header day, a, b"),
        ("p.txt", "2\n.1 .2\n.1 -.2\n", 3, "standard deviation -0.2"),
        ("p.txt", "2\n.1 .2\n.1 .2\n1 1 1\n1 2 1.5\n2 2 1\n", 5, "correlation 1.5"),
        ("p.txt", "2\n.1 .2\n.1 .2\n1 1 1\n1 3 .5\n2 2 1\n", 5, "index 3 is out of range"),
        ("p.txt", "2\n.1 .2\n.1 .2\n1 1 1\n1 2 .5\n2 1 .5\n", 6, "2 1 was already given"),
        ("p.txt", "2\n.1 .2\n.1 .2\n1 1 1\n1 2 .5\n", 5, "the file ends too early"),
        ("p.txt", "1\n.1 .2\n1 1 1\n7\n", 4, "one too many"),
    ],
)
def test_malformed_files(tmp_path: Path, name: str, text: str, line: int, problem: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    kind = "returns-csv" if name == "r.csv" else "orlib-portfolio"
    with pytest.raises(InvalidRequest) as caught:
        read_problem(path, "portfolio", kind)
    assert caught.value.field == f"{path}:{line}"
    assert problem in caught.value.problem


def test_an_asset_that_nobody_holds_does_not_make_a_proof() -> None:
    """A return of minus a million is far from those of the others, whose differences count."""
    returns = [0.001] * 12
    returns[3], returns[4], returns[7] = 0.01, 0.009999, -1e6
    data: dict[str, Any] = {
        "assets": [[f"a{place}", value] for place, value in enumerate(returns)],
        "covariance": (np.eye(12) * 1e-9).tolist(),
        "choose": 1,
        "risk_aversion": 0.0,
    }
    on = market(parsed(data))
    best, second = ([int(place == held) for place in range(12)] for held in (3, 4))
    assert holdings.lower_bound(on) == on.worth(best) < on.worth(second)
    assert KIND.sums(parsed(data)).of(on.worth(second)) == 0.0
    assert holdings.improved(on, second) == best
