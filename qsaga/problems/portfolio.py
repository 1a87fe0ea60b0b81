"""Portfolio selection: exactly so many assets with little risk and much expected return."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, Self

import dimod
import numpy as np
from pydantic import Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from qsaga.problems import drawing, holdings
from qsaga.problems.base import Bits, Bools, Floats, ProblemInput, ProblemType, listing
from qsaga.problems.graphs import check_names
from qsaga.problems.holdings import Market
from qsaga.problems.portfolio_files import ORLIB_PORTFOLIO, RETURNS_CSV
from qsaga.problems.tables import PlainName, Table, check_square, check_symmetric, frozen

MOST_ASSETS = 500
MARGIN = 1.25
"""Of the penalty over the least that is enough."""

FRONTIER = 12
"""Points of the frontier in a picture."""

Position = tuple[int, int]
"""Whether an asset is held, and how many units beyond the first."""

Holding = tuple[Position, ...]


class Asset(NamedTuple):
    """``[name, expected return]``, or with the standard deviation of the return behind it."""

    name: PlainName
    expected: Annotated[float, Field(ge=-1e6, le=1e6)]
    deviation: Annotated[float, Field(ge=0, le=1e6)] | None = None


class PortfolioInput(ProblemInput):
    """Assets, how they move together, and how many of them to hold.

    Args:
        assets: each with its expected return over a period.
        covariance: of the returns; or else
        correlation: of the returns, beside standard deviations of all assets.
        choose: exactly so many assets are held.
        units: the money is divided into so many equal units; as many as ``choose`` if left out,
            so that all assets weigh the same.
        most: units of one asset at most; no limit if left out.
        risk_aversion: between 0, only the return counts, and 1, only the variance does.
    """

    assets: Annotated[tuple[Asset, ...], Field(min_length=1, max_length=MOST_ASSETS)]
    covariance: Table = ()
    correlation: Table = ()
    choose: Annotated[int, Field(ge=1)]
    units: Annotated[int, Field(ge=1, le=1000)] | None = None
    most: Annotated[int, Field(ge=1)] | None = None
    risk_aversion: Annotated[float, Field(ge=0, le=1)] = 0.5

    @field_validator("assets")
    @classmethod
    def _names_once(cls, assets: tuple[Asset, ...]) -> tuple[Asset, ...]:
        check_names([asset.name for asset in assets])
        return assets

    @model_validator(mode="after")
    def _market(self) -> Self:
        if bool(self.covariance) == bool(self.correlation):
            raise _wrong("covariance", "risk by covariance or by correlation", "one of the two")
        field = "covariance" if self.covariance else "correlation"
        table = self.covariance or self.correlation
        check_square(table, len(self.assets), field)
        check_symmetric(table, field)
        for index, asset in enumerate(self.assets):
            if (asset.deviation is None) == bool(self.correlation):
                given = "no" if asset.deviation is None else "a"
                where = f"assets.{index}.deviation"
                raise _wrong(where, f"{given} deviation beside {field}", "with correlations only")
            if self.correlation and not math.isclose(table[index][index], 1.0, abs_tol=1e-6):
                where = f"correlation.{index}.{index}"
                raise _wrong(where, f"{table[index][index]:g} on the diagonal", "1")
        lowest = float(np.linalg.eigvalsh(np.array(table))[0])
        if lowest < -1e-6 * float(np.max(np.abs(np.array(table)))):
            problem = f"some portfolio would have a negative variance (eigenvalue {lowest:.3g})"
            raise _wrong(field, problem, "a positive semidefinite table")
        return self

    @model_validator(mode="after")
    def _holding(self) -> Self:
        if self.choose > len(self.assets):
            raise _wrong("choose", f"{self.choose} of {len(self.assets)} assets", "at most all")
        if self.units is not None and self.units < self.choose:
            raise _wrong("units", f"{self.units} units for {self.choose} assets", "one for each")
        if self.most is not None and self.most * self.choose < (self.units or self.choose):
            held = f"{self.choose} assets of at most {self.most} units hold less than {self.units}"
            raise _wrong("most", held, "a higher limit, or fewer units")
        return self


def _wrong(field: str, problem: str, allowed: str) -> PydanticCustomError:
    return PydanticCustomError(
        "portfolio", "{problem}", {"problem": problem, "at": field, "allowed": allowed}
    )


@lru_cache(maxsize=8)
def market(given: PortfolioInput) -> Market:
    """The input in the form that the search works on."""
    covariance = np.array(given.covariance or given.correlation)
    # The halves may differ by rounding; the model has one number for each pair.
    covariance = (covariance + covariance.T) / 2
    if given.correlation:
        spread = np.array([asset.deviation for asset in given.assets])
        covariance = covariance * np.outer(spread, spread)
    units = given.units or given.choose
    return Market(
        expected=frozen([asset.expected for asset in given.assets]),
        covariance=frozen(covariance),
        aversion=given.risk_aversion,
        choose=given.choose,
        units=units,
        most=min(given.most or units, units - given.choose + 1),
    )


class Portfolio(ProblemType[PortfolioInput, Holding]):
    """Mean-variance selection with exactly k assets. The objective is

        risk aversion x variance - (1 - risk aversion) x expected return

    per period, as in Chang, Meade, Beasley and Sharaiha 2000, doi:10.1016/S0305-0548(99)00074-X.

    A variable says that an asset is held, with one unit; others, if an asset may have more
    units, count those beyond the first in binary. Three constraints are penalties of one weight
    P: (number of assets - k)**2, (number of units - U)**2, and each unit beyond the first of an
    asset that is not held. How large P must be: no variance is negative, so a sample with
    U + d units has an objective of at least -c (1 + d / U), c being (1 - risk aversion) times the
    best expected return, or 0. Broken constraints cost at least P, and d * d * P if d is above 1.
    So with the objective g of the greedy portfolio, every P above g + c + c / U makes each
    infeasible sample worse than the greedy portfolio. 1.25 times that is taken.

    A solution says of each asset whether it is held, and how many units beyond the first it has.
    """

    name = "portfolio"
    formulation = "portfolio-units/1"
    decoding = "portfolio-exchange/2"
    title = "Portfolio of exactly k assets, risk against return (mean-variance)"
    sense = "minimise"
    columns = {"assets": ("name", "expected", "deviation")}
    reference = (
        "Markowitz 1952, doi:10.2307/2975974; Chang et al. 2000, doi:10.1016/S0305-0548(99)00074-X"
    )
    example = {
        "assets": [["steel", 0.08, 0.2], ["grain", 0.05, 0.1], ["power", 0.06, 0.15]],
        "correlation": [[1.0, 0.2, 0.6], [0.2, 1.0, -0.1], [0.6, -0.1, 1.0]],
        "choose": 2,
    }
    formats = (ORLIB_PORTFOLIO, RETURNS_CSV)
    model = PortfolioInput

    def variables(self, given: PortfolioInput) -> tuple[str, ...]:
        more = [f"@{size}.{place}" for place, size in enumerate(market(given).steps)]
        return tuple(asset.name + end for asset in given.assets for end in ("", *more))

    def size(self, given: PortfolioInput) -> tuple[int, int]:
        count = len(given.assets) * (1 + len(market(given).steps))
        return count, count * (count - 1) // 2

    def formulate(self, given: PortfolioInput) -> dimod.BinaryQuadraticModel:
        on = market(given)
        size, width = len(on.expected), 1 + len(on.steps)
        asset = np.repeat(np.arange(size), width)
        units = np.tile(np.array([1.0, *on.steps]), size)
        first = np.tile(np.array([1.0, *(0.0 for _ in on.steps)]), size)
        weight = self._penalty(given)
        # The square of a sum: its diagonal is linear, as a 0/1 value is its own square.
        square = on.risk[np.ix_(asset, asset)] * np.outer(units, units)
        square += weight * (np.outer(units, units) + np.outer(first, first))
        owed = weight * (1 - first)
        linear = np.diag(square) + on.gain[asset] * units + owed
        linear -= 2 * weight * (on.units * units + on.choose * first)
        heads, tails = np.triu_indices(size * width, 1)
        same = (asset[heads] == asset[tails]) & (first[heads] == 1)
        biases = 2 * square[heads, tails] - weight * same
        model: dimod.BinaryQuadraticModel = dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear,
            (heads, tails, biases),
            weight * (on.units**2 + on.choose**2),
            dimod.BINARY,
            variable_order=list(self.variables(given)),
        )
        return model

    def decode(self, given: PortfolioInput, sample: Mapping[str, int]) -> Holding:
        steps = market(given).steps
        return tuple(
            (
                sample[asset.name],
                sum(size * sample[f"{asset.name}@{size}.{k}"] for k, size in enumerate(steps)),
            )
            for asset in given.assets
        )

    def objective(self, given: PortfolioInput, solution: Holding) -> float:
        return market(given).worth([held + more for held, more in solution])

    def feasible(self, given: PortfolioInput, solution: Holding) -> bool:
        on = market(given)
        return (
            len(solution) == len(given.assets)
            and all(held or not more for held, more in solution)
            and sum(held for held, _ in solution) == on.choose
            and sum(held + more for held, more in solution) == on.units
            and max(held + more for held, more in solution) <= on.most
        )

    def objectives(self, given: PortfolioInput, bits: Bits) -> Floats:
        on, (held, more) = market(given), self._counted(given, bits)
        return np.array([on.worth(row) for row in held + more])

    def feasibles(self, given: PortfolioInput, bits: Bits) -> Bools:
        on, (held, more) = market(given), self._counted(given, bits)
        # In binary no asset can have more units than ``most``: the steps add up to most - 1.
        enough = (held.sum(axis=1) == on.choose) & ((held + more).sum(axis=1) == on.units)
        return np.asarray(enough & ~np.any((held == 0) & (more > 0), axis=1), dtype=np.bool_)

    def repair(self, given: PortfolioInput, solution: Holding) -> Holding:
        """Drop the assets that are worth least beside the rest, or add the best; so with units."""
        units = [held + more if held else 0 for held, more in solution]
        return _holding(holdings.repaired(market(given), units))

    def improve(self, given: PortfolioInput, solution: Holding) -> Holding:
        """Exchange assets and shift units while that improves the portfolio, best first."""
        units = [held + more for held, more in solution]
        return _holding(holdings.improved(market(given), units))

    def baseline(self, given: PortfolioInput) -> Holding:
        """One asset after another, then one unit after another, always the best beside the rest."""
        return _holding(holdings.repaired(market(given), [0] * len(given.assets)))

    def bound(self, given: PortfolioInput) -> float:
        """That of portfolios with any number of assets and any parts of units."""
        return holdings.lower_bound(market(given))

    def explain(self, given: PortfolioInput, solution: Holding) -> str:
        on = market(given)
        units = [held + more for held, more in solution]
        parts = [
            f"{asset.name} {count / on.units:.1%}"
            for asset, count in zip(given.assets, units, strict=True)
            if count
        ]
        expected, deviation = on.outlook(units)
        return (
            f"{on.choose} of {len(given.assets)} assets, with an expected return of "
            f"{expected:.4%} and a standard deviation of {deviation:.4%} per period: "
            f"{listing(parts)}."
        )

    def solution_json(self, given: PortfolioInput, solution: Holding) -> dict[str, JsonValue]:
        on = market(given)
        units = [held + more for held, more in solution]
        expected, deviation = on.outlook(units)
        return {
            "weights": {
                asset.name: count / on.units
                for asset, count in zip(given.assets, units, strict=True)
                if count
            },
            "expected_return": expected,
            "standard_deviation": deviation,
        }

    def draw(self, given: PortfolioInput, solution: Mapping[str, JsonValue], axes: Any) -> None:
        """Risk against return: the assets, the frontier of such portfolios, and this one."""
        on = market(given)
        weights: Any = solution["weights"]
        spread = np.sqrt(np.diag(on.covariance))
        inside = np.array([asset.name in weights for asset in given.assets])
        frontier = sorted(
            {holdings.frontier_point(on, k / (FRONTIER - 1)) for k in range(FRONTIER)}
        )
        axes.plot([x for x, _ in frontier], [y for _, y in frontier], "--", color=drawing.PALE)
        for chosen, shade in ((~inside, drawing.PALE), (inside, drawing.colour(0))):
            axes.scatter(spread[chosen], on.expected[chosen], color=shade, edgecolors="#333333")
        for asset, risk in zip(given.assets, spread, strict=True):
            if asset.name in weights:
                axes.annotate(asset.name, (risk, asset.expected), fontsize=8, parse_math=False)
        here = (solution["standard_deviation"], solution["expected_return"])
        axes.scatter([here[0]], [here[1]], marker="*", s=200, color=drawing.colour(1), zorder=3)
        axes.set_xlabel("standard deviation")
        axes.set_ylabel("expected return")
        drawing.title(axes, f"{on.choose} of {len(given.assets)} assets (star), and the frontier")

    def _penalty(self, given: PortfolioInput) -> float:
        on = market(given)
        most = (1 - on.aversion) * max(float(np.max(on.expected)), 0.0)
        least = self.objective(given, self.baseline(given)) + most + most / on.units
        return MARGIN * least if least > 0 else 1.0

    def _counted(self, given: PortfolioInput, bits: Bits) -> tuple[Floats, Floats]:
        """Whether each asset is held, and its units beyond the first. Shapes (samples, assets)."""
        steps = np.array(market(given).steps, dtype=np.float64)
        grid = bits.reshape(len(bits), len(given.assets), 1 + len(steps)).astype(np.float64)
        return grid[:, :, 0], grid[:, :, 1:] @ steps


def _holding(units: list[int]) -> Holding:
    return tuple((int(count > 0), max(count - 1, 0)) for count in units)


PORTFOLIO = Portfolio()
"""What the entry point names."""
