"""Any binary quadratic model, given inline: minimise its energy."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal, NamedTuple, Self

import dimod
import numpy as np
from pydantic import Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from qsaga.problems import drawing
from qsaga.problems.base import Bits, Floats, ProblemInput, ProblemType, listing, number
from qsaga.problems.exact import Sums, rounded_down, sums_of, whole_numbers
from qsaga.problems.graphs import (
    NodeName,
    Weight,
    check_known,
    check_names,
    check_pairs,
    ends,
    in_order,
    indices,
)
from qsaga.problems.model_files import BQM, COO, QPLIB, SPARSE


class Coupling(NamedTuple):
    """``[u, v, bias]``."""

    u: NodeName
    v: NodeName
    bias: Weight


class QuboInput(ProblemInput):
    """Energy = sum of linear·x + sum of quadratic·x·y + offset.

    Args:
        variables: names, where their order or unused ones matter; else taken from the biases.
        linear: variable to bias.
        quadratic: ``[u, v, bias]``, each pair once.
        offset: added to every energy.
        vartype: ``BINARY`` for x in {0, 1} (QUBO), ``SPIN`` for x in {-1, +1} (Ising).
    """

    variables: tuple[NodeName, ...] = ()
    linear: dict[NodeName, Weight] = {}
    quadratic: tuple[Coupling, ...] = ()
    offset: Weight = 0.0
    vartype: Literal["BINARY", "SPIN"] = Field(default="BINARY")

    @field_validator("variables")
    @classmethod
    def _names_once(cls, variables: tuple[str, ...]) -> tuple[str, ...]:
        check_names(variables)
        return variables

    @field_validator("quadratic")
    @classmethod
    def _pairs_once(cls, quadratic: tuple[Coupling, ...]) -> tuple[Coupling, ...]:
        for index, row in enumerate(quadratic):
            if row.u == row.v:
                raise PydanticCustomError(
                    "self_loop",
                    "{name} is coupled to itself",
                    {
                        "name": repr(row.u),
                        "at": str(index),
                        "allowed": "two different variables; a diagonal entry belongs in linear",
                    },
                )
        check_pairs(quadratic, "coupling")
        return quadratic

    @model_validator(mode="after")
    def _known_variables(self) -> Self:
        check_known(self.variables, self.quadratic, "quadratic")
        known = frozenset(self.variables)
        for name in self.linear:
            if known and name not in known:
                raise PydanticCustomError(
                    "unknown_name",
                    "{name} is not in the list of names",
                    {
                        "name": repr(name),
                        "at": f"linear.{name}",
                        "allowed": "a name from variables",
                    },
                )
        if not (self.variables or self.linear or self.quadratic):
            raise PydanticCustomError(
                "empty_model",
                "the model is empty",
                {"at": "linear", "allowed": "at least one variable"},
            )
        return self


class Qubo(ProblemType[QuboInput, dict[str, int]]):
    """A binary quadratic model as it stands; a solution maps each variable to its value."""

    name = "qubo"
    formulation = "qubo-as-given/1"
    decoding = "qubo-values/2"
    title = "Any QUBO, Ising or binary quadratic model, minimised"
    sense = "minimise"
    columns = {"quadratic": ("u", "v", "bias")}
    reference = "Kochenberger et al. 2014, doi:10.1007/s10878-014-9734-0"
    example = {"linear": {"a": -1.0, "b": 2.0}, "quadratic": [["a", "b", -3.0]]}
    formats = (BQM, COO, SPARSE, QPLIB)
    model = QuboInput

    def variables(self, given: QuboInput) -> tuple[str, ...]:
        return in_order(given.variables, given.linear, ends(given.quadratic))

    def size(self, given: QuboInput) -> tuple[int, int]:
        return len(self.variables(given)), len(given.quadratic)

    def formulate(self, given: QuboInput) -> dimod.BinaryQuadraticModel:
        model = dimod.BinaryQuadraticModel(given.vartype)
        for name in self.variables(given):
            model.add_linear(name, given.linear.get(name, 0.0))
        for row in given.quadratic:
            model.add_quadratic(row.u, row.v, row.bias)
        model.offset = given.offset
        return model

    def decode(self, given: QuboInput, sample: Mapping[str, int]) -> dict[str, int]:
        if given.vartype == "SPIN":
            return {name: 2 * sample[name] - 1 for name in self.variables(given)}
        return {name: sample[name] for name in self.variables(given)}

    def objective(self, given: QuboInput, solution: dict[str, int]) -> float:
        linear = sum(bias * solution[name] for name, bias in given.linear.items())
        quadratic = sum(row.bias * solution[row.u] * solution[row.v] for row in given.quadratic)
        return float(linear + quadratic + given.offset)

    def feasible(self, given: QuboInput, solution: dict[str, int]) -> bool:
        values = {-1, 1} if given.vartype == "SPIN" else {0, 1}
        return set(solution) == set(self.variables(given)) and set(solution.values()) <= values

    def objectives(self, given: QuboInput, bits: Bits) -> Floats:
        names = self.variables(given)
        values = bits.astype(np.float64)
        if given.vartype == "SPIN":
            values = 2 * values - 1
        linear = np.array([given.linear.get(name, 0.0) for name in names])
        left, right = indices(names, given.quadratic)
        biases = np.array([row.bias for row in given.quadratic], dtype=np.float64)
        # One row at a time: a gathered (samples, couplings) array of a dense model is too large.
        pairs = np.array([row[left] * row[right] @ biases for row in values])
        return np.asarray(values @ linear + pairs + given.offset, dtype=np.float64)

    def baseline(self, given: QuboInput) -> dict[str, int]:
        """Strongest variable first, each set against the field of those already set."""
        ising = self.formulate(given).change_vartype(dimod.SPIN, inplace=False)
        names = self.variables(given)
        field = {name: float(ising.get_linear(name)) for name in names}
        strength = {
            name: abs(field[name]) + sum(abs(b) for _, b in ising.iter_neighborhood(name))
            for name in names
        }
        bits: dict[str, int] = {}
        for name in sorted(strength, key=lambda name: -strength[name]):
            bits[name] = int(field[name] < 0)
            for other, bias in ising.iter_neighborhood(name):
                field[str(other)] += bias * (2 * bits[name] - 1)
        return self.decode(given, bits)

    def bound(self, given: QuboInput) -> float:
        """Every term at its lowest, whatever the others say."""
        biases = [*given.linear.values(), *(row.bias for row in given.quadratic)]
        spins = given.vartype == "SPIN"
        lowest = [-abs(bias) if spins else min(bias, 0.0) for bias in biases]
        parts, scale = whole_numbers([given.offset, *lowest])
        return rounded_down(Fraction(sum(parts), scale))

    def sums(self, given: QuboInput) -> Sums:
        couplings = (row.bias for row in given.quadratic)
        return sums_of([given.offset, *given.linear.values(), *couplings])

    def explain(self, given: QuboInput, solution: dict[str, int]) -> str:
        high = [name for name, value in solution.items() if value == 1]
        return (
            f"Energy {number(self.objective(given, solution))} over {len(solution)} variables; "
            f"{len(high)} of them are 1: {listing(high)}."
        )

    def solution_json(self, given: QuboInput, solution: dict[str, int]) -> dict[str, JsonValue]:
        return {"values": dict(solution)}

    def draw(self, given: QuboInput, solution: Mapping[str, JsonValue], axes: Any) -> None:
        """The couplings as a graph, the variables that are 1 in colour."""
        values = solution["values"]
        pairs = values.items() if isinstance(values, dict) else ()
        high = [name for name, value in pairs if value == 1]
        edges = [(row.u, row.v) for row in given.quadratic]
        colours = dict.fromkeys(high, drawing.colour(0))
        drawing.graph(axes, self.variables(given), edges, colours)
        drawing.title(axes, f"{len(high)} of {len(self.variables(given))} variables are 1")


QUBO = Qubo()
"""What the entry point names."""
