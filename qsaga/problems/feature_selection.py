"""Feature selection: features that tell much of the target and little of each other."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, NamedTuple, Self

import dimod
import numpy as np
from pydantic import Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from qsaga.problems import drawing
from qsaga.problems.base import Bits, Bools, Floats, ProblemInput, ProblemType, listing, number
from qsaga.problems.exact import Sums, rounded_up, sums_of, whole_numbers
from qsaga.problems.feature_files import CSV
from qsaga.problems.graphs import NodeName, check_known, check_names, check_pairs, indices
from qsaga.problems.inequality import MARGIN, extra_names, slack_weights

Amount = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]


class Feature(NamedTuple):
    """``[name, relevance]``."""

    name: NodeName
    relevance: Amount


class Redundancy(NamedTuple):
    """``[feature, feature, value]``."""

    u: NodeName
    v: NodeName
    value: Amount


class FeatureSelectionInput(ProblemInput):
    """What each feature tells of the target, and each two of each other.

    Args:
        features: ``[name, relevance]``, each name once; mutual information with the target, or
            the magnitude of a correlation. 0 or more.
        redundancy: ``[feature, feature, value]``, each pair once, in the same measure; a pair
            that is left out shares nothing.
        choose: so many features.
        exactly: false for at most so many.
        balance: between relevance alone (1) and redundancy alone (0), called alpha in the
            literature.
    """

    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    redundancy: tuple[Redundancy, ...] = ()
    choose: Annotated[int, Field(ge=1)]
    exactly: bool = True
    balance: Annotated[float, Field(ge=0, le=1)] = 0.5

    @field_validator("features")
    @classmethod
    def _names_once(cls, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
        check_names([feature.name for feature in features])
        return features

    @field_validator("redundancy")
    @classmethod
    def _pairs_once(cls, redundancy: tuple[Redundancy, ...]) -> tuple[Redundancy, ...]:
        for index, row in enumerate(redundancy):
            if row.u == row.v:
                raise PydanticCustomError(
                    "self_loop",
                    "{name} is paired with itself",
                    {"name": repr(row.u), "at": str(index), "allowed": "two different features"},
                )
        check_pairs(redundancy, "pair")
        return redundancy

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_known([feature.name for feature in self.features], self.redundancy, "redundancy")
        if self.choose > len(self.features):
            raise PydanticCustomError(
                "too_many",
                "{choose} of {count} features",
                {
                    "choose": self.choose,
                    "count": len(self.features),
                    "at": "choose",
                    "allowed": f"at most {len(self.features)}",
                },
            )
        return self


class FeatureSelection(ProblemType[FeatureSelectionInput, tuple[str, ...]]):
    """Feature selection. To be maximised: balance times the relevance of the chosen features
    less (1 − balance) times the redundancy of each pair of them (the QUBO of Mücke et al. 2023,
    arXiv:2203.13261, each pair counted once). The number of features is kept by P·(chosen −
    choose)², with slack bits 1, 2, 4, … and a rest in the bracket where fewer will do.

    Penalty: P = 1.5 times the most that one feature can change the score the wrong way. That is
    balance·relevance for leaving one out, and for adding one its redundancy with the choose − 1
    features that share most with it, less its own worth. A choice that is off by d becomes right
    in d such steps, and the penalty falls by P·d², at least P·d.

    A solution is the chosen features, in the order of the input.
    """

    name = "feature_selection"
    formulation = "feature-selection-count/1"
    decoding = "feature-selection-swaps/2"
    title = "Features that are relevant and not redundant, a given number of them"
    sense = "maximise"
    columns = {"features": ("name", "relevance"), "redundancy": ("u", "v", "value")}
    reference = "Mücke, Heese, Müller, Wolter, Piatkowski 2023, arXiv:2203.13261"
    example = {
        "features": [["age", 0.6], ["income", 0.5], ["rent", 0.45], ["shoe size", 0.1]],
        "redundancy": [["income", "rent", 0.9], ["age", "income", 0.2]],
        "choose": 2,
    }
    formats = (CSV,)
    model = FeatureSelectionInput

    def variables(self, given: FeatureSelectionInput) -> tuple[str, ...]:
        names = tuple(feature.name for feature in given.features)
        return names + extra_names(names, "slack", len(_slack(given)))

    def size(self, given: FeatureSelectionInput) -> tuple[int, int]:
        count = len(given.features) + len(_slack(given))
        return count, count * (count - 1) // 2

    def formulate(self, given: FeatureSelectionInput) -> dimod.BinaryQuadraticModel:
        names = self.variables(given)
        worth, cost = _scores(given)
        model = dimod.BinaryQuadraticModel(dimod.BINARY)
        for name in names:
            model.add_variable(name)
        for name, value in zip(names, worth.tolist(), strict=False):
            model.add_linear(name, -value)
        weights = [*(1 for _ in given.features), *_slack(given)]
        model.add_linear_equality_constraint(
            list(zip(names, weights, strict=True)), _penalty(given), -given.choose
        )
        left, right = indices(names, given.redundancy)
        for u, v in zip(left.tolist(), right.tolist(), strict=True):
            model.add_quadratic(names[u], names[v], float(cost[u, v]))
        return model

    def decode(self, given: FeatureSelectionInput, sample: Mapping[str, int]) -> tuple[str, ...]:
        return tuple(feature.name for feature in given.features if sample[feature.name] == 1)

    def objective(self, given: FeatureSelectionInput, solution: tuple[str, ...]) -> float:
        chosen = set(solution)
        relevance = sum(one.relevance for one in given.features if one.name in chosen)
        shared = sum(row.value for row in given.redundancy if {row.u, row.v} <= chosen)
        return float(given.balance * relevance - (1 - given.balance) * shared)

    def feasible(self, given: FeatureSelectionInput, solution: tuple[str, ...]) -> bool:
        chosen, known = set(solution), {feature.name for feature in given.features}
        right = len(chosen) == given.choose if given.exactly else len(chosen) <= given.choose
        return chosen <= known and right

    def objectives(self, given: FeatureSelectionInput, bits: Bits) -> Floats:
        worth, cost = _scores(given)
        chosen = bits[:, : len(worth)].astype(np.float64)
        shared = np.einsum("si,ij,sj->s", chosen, cost, chosen, optimize=True) / 2
        return np.asarray(chosen @ worth - shared, dtype=np.float64)

    def feasibles(self, given: FeatureSelectionInput, bits: Bits) -> Bools:
        count = bits[:, : len(given.features)].sum(axis=1)
        right = count == given.choose if given.exactly else count <= given.choose
        return np.asarray(right, dtype=np.bool_)

    def repair(self, given: FeatureSelectionInput, solution: tuple[str, ...]) -> tuple[str, ...]:
        """Drop the features that add least, or add those that add most, until the number fits."""
        inside = _inside(given, solution)
        worth, cost = _scores(given)
        while inside.sum() > given.choose:
            adds = worth - cost @ inside
            inside[int(np.where(inside, adds, np.inf).argmin())] = False
        while given.exactly and inside.sum() < given.choose:
            adds = worth - cost @ inside
            inside[int(np.where(inside, -np.inf, adds).argmax())] = True
        return _names(given, inside)

    def improve(self, given: FeatureSelectionInput, solution: tuple[str, ...]) -> tuple[str, ...]:
        """Swap, and where fewer will do add or drop, as long as that raises the score.

        From the greedy choice where that is better, so nothing below it comes out.
        """
        greedy = self.baseline(given)
        start = max(solution, greedy, key=lambda one: self.objective(given, one))
        inside = _inside(given, start)
        worth, cost = _scores(given)
        least = 1e-12 * float(worth.sum() + cost.sum())
        while step := _best_step(given, inside, worth - cost @ inside, cost, least):
            inside[list(step)] ^= True
        return _names(given, inside)

    def baseline(self, given: FeatureSelectionInput) -> tuple[str, ...]:
        """Again and again the feature that adds most to the score."""
        inside = _inside(given, ())
        worth, cost = _scores(given)
        for _ in range(given.choose):
            adds = np.where(inside, -np.inf, worth - cost @ inside)
            if adds.max() <= 0 and not given.exactly:
                break
            inside[int(adds.argmax())] = True
        return _names(given, inside)

    def bound(self, given: FeatureSelectionInput) -> float:
        """The most relevant features, as redundant as the least redundant pairs."""
        relevance, scale = whole_numbers([feature.relevance for feature in given.features])
        balance = Fraction(given.balance)
        best = balance * Fraction(sum(sorted(relevance)[-given.choose :]), scale)
        # A pair that is left out shares nothing.
        pairs = given.choose * (given.choose - 1) // 2
        nothing = len(given.features) * (len(given.features) - 1) // 2 - len(given.redundancy)
        if given.exactly and pairs > nothing:
            shared, scale = whole_numbers([row.value for row in given.redundancy])
            best -= (1 - balance) * Fraction(sum(sorted(shared)[: pairs - nothing]), scale)
        return rounded_up(best)

    def sums(self, given: FeatureSelectionInput) -> Sums:
        worth = [given.balance * feature.relevance for feature in given.features]
        cost = [(1 - given.balance) * row.value for row in given.redundancy]
        # Beside the sums two products, a difference and what 1 less the balance is off by.
        return sums_of([*worth, *cost], operations=len(worth) + len(cost) + 4)

    def explain(self, given: FeatureSelectionInput, solution: tuple[str, ...]) -> str:
        chosen = set(solution)
        relevance = sum(one.relevance for one in given.features if one.name in chosen)
        shared = sum(row.value for row in given.redundancy if {row.u, row.v} <= chosen)
        return (
            f"{len(solution)} of {len(given.features)} features with relevance "
            f"{number(relevance)} in all, {number(shared)} of it shared between pairs: "
            f"{listing(solution)}."
        )

    def solution_json(
        self, given: FeatureSelectionInput, solution: tuple[str, ...]
    ) -> dict[str, JsonValue]:
        return {"chosen": list(solution)}

    def draw(
        self, given: FeatureSelectionInput, solution: Mapping[str, JsonValue], axes: Any
    ) -> None:
        """The relevance of each feature, highest first; what is not chosen is pale."""
        chosen = set(drawing.named(solution["chosen"]))
        order = sorted(given.features, key=lambda feature: -feature.relevance)
        drawing.bars(
            axes,
            [feature.name for feature in order],
            [feature.relevance for feature in order],
            [feature.name in chosen for feature in order],
        )
        axes.set_ylabel("relevance")
        score = number(self.objective(given, tuple(chosen)))
        drawing.title(axes, f"{len(chosen)} features, score {score}")


def _slack(given: FeatureSelectionInput) -> tuple[int, ...]:
    return () if given.exactly else slack_weights(given.choose)


def _scores(given: FeatureSelectionInput) -> tuple[Floats, Floats]:
    """What each feature is worth, and what each pair costs, a symmetric matrix."""
    names = [feature.name for feature in given.features]
    worth = given.balance * np.array([one.relevance for one in given.features], dtype=np.float64)
    cost = np.zeros((len(names), len(names)))
    left, right = indices(names, given.redundancy)
    values = np.array([row.value for row in given.redundancy], dtype=np.float64)
    cost[left, right] = cost[right, left] = (1 - given.balance) * values
    return worth, cost


def _penalty(given: FeatureSelectionInput) -> float:
    worth, cost = _scores(given)
    lost = float(worth.max())
    if given.exactly:
        nearest = np.sort(cost, axis=1)[:, ::-1][:, : given.choose - 1].sum(axis=1)
        lost = max(lost, float((nearest - worth).max()))
    return MARGIN * lost or 1.0


def _inside(given: FeatureSelectionInput, solution: tuple[str, ...]) -> Bools:
    chosen = set(solution)
    return np.array([feature.name in chosen for feature in given.features], dtype=np.bool_)


def _names(given: FeatureSelectionInput, inside: Bools) -> tuple[str, ...]:
    pairs = zip(given.features, inside.tolist(), strict=True)
    return tuple(feature.name for feature, one in pairs if one)


def _best_step(
    given: FeatureSelectionInput, inside: Bools, adds: Floats, cost: Floats, least: float
) -> tuple[int, ...]:
    """The one or two features whose change raises the score most; none if none does."""
    ins, outs = np.flatnonzero(~inside), np.flatnonzero(inside)
    found: list[tuple[float, tuple[int, ...]]] = [(least, ())]
    if len(ins) and len(outs):
        swaps = adds[ins][:, None] - adds[outs][None, :] + cost[np.ix_(ins, outs)]
        row, column = np.unravel_index(int(swaps.argmax()), swaps.shape)
        found.append((float(swaps.max()), (int(ins[row]), int(outs[column]))))
    if not given.exactly and len(ins) and len(outs) < given.choose:
        found.append((float(adds[ins].max()), (int(ins[adds[ins].argmax()]),)))
    if not given.exactly and len(outs):
        found.append((float(-adds[outs].min()), (int(outs[adds[outs].argmin()]),)))
    return max(found, key=lambda one: one[0])[1]


FEATURE_SELECTION = FeatureSelection()
"""What the entry point names."""
