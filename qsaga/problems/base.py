"""What a problem is: one class between the words of a domain and a binary quadratic model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar

import dimod
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, JsonValue

from qsaga.problems.exact import Sums
from qsaga.problems.reading import FileFormat

Bits = npt.NDArray[np.int8]
"""0/1 values; one row for each sample, one column for each variable in the model's order."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class ProblemInput(BaseModel):
    """Base of input models: frozen, no unknown fields, no NaN or infinity, no silent casts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Input = TypeVar("Input", bound=ProblemInput)
Solution = TypeVar("Solution")


class ProblemType(ABC, Generic[Input, Solution]):
    """A named problem.

    A new one is a subclass and one line in the entry point group ``qsaga.problems``; the entry
    point names an instance. ``columns`` gives the places of rows their names, for error paths.

    The model is always to be minimised. For a feasible solution its energy equals the objective
    where ``sense`` is ``minimise`` and minus the objective where it is ``maximise``; where
    variables stand for no part of the solution (slack), the lowest energy over them does. A
    problem whose energy rises with its objective in another way overrides
    ``objective_of_energy``. The lowest energy of all is that of a best feasible solution.

    ``formulation`` and ``decoding`` are names and versions, such as ``maxcut-ising/1``. The first
    rises whenever the same input gives another model, the second whenever the same samples give
    another solution, repair, baseline or bound: every answer says which ones it was made with.

    ``reference`` says where the formulation is published, ``example`` is the data of a small
    request, ``formats`` are the files that its inputs come in.
    """

    name: ClassVar[str]
    formulation: ClassVar[str]
    decoding: ClassVar[str]
    title: ClassVar[str]
    sense: ClassVar[Literal["maximise", "minimise"]]
    columns: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    reference: ClassVar[str] = ""
    example: ClassVar[Mapping[str, JsonValue]] = {}
    formats: ClassVar[tuple[FileFormat, ...]] = ()
    model: type[Input]

    def infeasible(self, given: Input) -> str:
        """Why no solution can exist, where that is quickly proved; empty if it is not."""
        return ""

    @abstractmethod
    def variables(self, given: Input) -> tuple[str, ...]:
        """Names of the model's variables, in order."""

    @abstractmethod
    def size(self, given: Input) -> tuple[int, int]:
        """Variables and couplings of the model, known without building it."""

    @abstractmethod
    def formulate(self, given: Input) -> dimod.BinaryQuadraticModel:
        """The model to minimise, its variables in the order of ``variables``."""

    @abstractmethod
    def decode(self, given: Input, sample: Mapping[str, int]) -> Solution:
        """The solution that a sample stands for.

        ``sample`` maps every variable to 0 or 1; for a spin model 0 stands for -1.
        """

    @abstractmethod
    def objective(self, given: Input, solution: Solution) -> float:
        """The value of a solution, computed from the input and never from the model."""

    @abstractmethod
    def feasible(self, given: Input, solution: Solution) -> bool:
        """Whether a solution meets every constraint of the input."""

    @abstractmethod
    def objectives(self, given: Input, bits: Bits) -> Floats:
        """``objective`` of many samples at once. Shape (samples,)."""

    def feasibles(self, given: Input, bits: Bits) -> Bools:
        """``feasible`` of many samples at once. Shape (samples,)."""
        return np.ones(len(bits), dtype=np.bool_)

    def repair(self, given: Input, solution: Solution) -> Solution:
        """The nearest feasible solution that the problem's usual repair finds."""
        return solution

    def improve(self, given: Input, solution: Solution) -> Solution:
        """A feasible solution no worse than a feasible one, by the problem's usual local search.

        Quick: it is called for the best few samples only. Nothing in it is random.
        """
        return solution

    @abstractmethod
    def baseline(self, given: Input) -> Solution | None:
        """What a simple greedy construction finds: the bar that an answer should clear.

        None if it finds nothing feasible.
        """

    def bound(self, given: Input) -> float | None:
        """A value that no solution can beat; None if none is known.

        Never tighter than that: of whole numbers it is computed in whole numbers, of others it is
        loosened by what its arithmetic may be off by. ``qsaga.problems.exact`` helps with both.
        """
        return None

    def sums(self, given: Input) -> Sums:
        """What objectives and ``bound``, as computed, may be off by.

        An answer is proven optimal where it is off the bound by no more than that. As long as a
        problem says nothing of it, only values equal to its own bound count, and with a solver's
        proof those that the model's rounding, up to a billionth, leaves open.
        """
        return Sums()

    @abstractmethod
    def explain(self, given: Input, solution: Solution) -> str:
        """The solution in the words of the domain, in one or two sentences."""

    @abstractmethod
    def solution_json(self, given: Input, solution: Solution) -> dict[str, JsonValue]:
        """The solution as plain JSON."""

    def draw(self, given: Input, solution: Mapping[str, JsonValue], axes: Any) -> None:
        """Draw a solution, as ``solution_json`` gives it, into matplotlib ``Axes``.

        Without a drawing of its own a problem shows nothing but its name.
        """
        axes.text(0.5, 0.5, self.title, ha="center", va="center", wrap=True)
        axes.set_axis_off()

    def better(self, left: float, right: float) -> bool:
        """Whether the objective ``left`` is strictly better than ``right``."""
        return left > right if self.sense == "maximise" else left < right

    def objective_of_energy(self, energy: Any) -> Any:
        """The objective of a feasible solution, or an array of them, from the model's energy."""
        return -energy if self.sense == "maximise" else energy

    def bound_of_energy(self, given: Input, energy: float) -> float | None:
        """A value that no solution can beat, where no assignment has less than ``energy``.

        None where the model leaves solutions out, so that it says nothing of all.
        """
        return float(self.objective_of_energy(energy))


def distinct(bits: Bits) -> Bits:
    """The distinct rows, sorted: ``numpy.unique`` along rows, by words of 64 columns.

    Some ten times faster, and other threads go on meanwhile: sorting whole rows would hold them up.
    """
    packed = np.packbits(bits, axis=1)
    words = max(1, -(-packed.shape[1] // 8))
    padded = np.zeros((len(bits), 8 * words), dtype=np.uint8)
    padded[:, : packed.shape[1]] = packed
    keys = padded.view(">u8").astype(np.uint64)
    order = np.lexsort(keys.T[::-1])
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = np.any(keys[order[1:]] != keys[order[:-1]], axis=1)
    return bits[order[first]]


def listing(names: tuple[str, ...] | list[str], most: int = 20) -> str:
    """Names separated by commas, the rest of a long list as a number."""
    if len(names) <= most:
        return ", ".join(names) or "none"
    return ", ".join(names[:most]) + f" and {len(names) - most} more"


def number(value: float) -> str:
    """A value for people: whole numbers without a decimal point."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"
