"""A binary model made smaller before it needs qubits: what was taken out, and how large it was."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import Field

from qsaga.core.contract import Contract
from qsaga.core.facts import Facts
from qsaga.core.words import number

Bit = Annotated[int, Field(ge=0, le=1)]


class Reduced(Contract):
    """How large a model was and is.

    Args:
        version: name and version of the reduction.
        library: that found the persistent variables, with its version.
        variables: of the model before.
        fixed: variables that have one value in every optimum (strong persistency), and those that
            no coupling is left of.
        solved: variables of components that were small enough to be solved in place.
        components: of the model that is left, which share no coupling.
        qubits: variables that are left.
    """

    version: str
    library: str
    variables: int
    fixed: int
    solved: int
    components: int
    qubits: int

    def text(self) -> str:
        """In words, without the versions."""
        left = number(self.qubits, "qubit")
        if self.components > 1:
            left += f" in {number(self.components, 'component')}"
        solved = f", {self.solved} solved in small components" if self.solved else ""
        return f"{left}, {number(self.fixed, 'variable')} fixed{solved}"


class Reduction(Contract):
    """A reduction of one model, kept as an artefact: whoever has the model has the smaller one.

    Args:
        version: see ``Reduced``.
        library: see ``Reduced``.
        fixed: variable to its value, 0 or 1; for a spin 0 stands for -1.
        solved: the same of small components that were solved in place.
        components: names of the variables of each component that is left, the components and the
            names in the model's order.
    """

    version: str
    library: str
    fixed: dict[str, Bit]
    solved: dict[str, Bit]
    components: tuple[tuple[str, ...], ...]

    @property
    def values(self) -> dict[str, int]:
        """Of all variables that were taken out."""
        return {**self.fixed, **self.solved}

    @property
    def size(self) -> Reduced:
        """What the record of a job says of it."""
        left = sum(map(len, self.components))
        return Reduced(
            version=self.version,
            library=self.library,
            variables=len(self.fixed) + len(self.solved) + left,
            fixed=len(self.fixed),
            solved=len(self.solved),
            components=len(self.components),
            qubits=left,
        )


class Reducer(Protocol):
    """Takes variables out of a binary quadratic model without losing its optimum.

    ``version`` rises whenever the same model gives another reduction. A model with more than
    ``most_couplings`` need not be built to be shown to it.
    """

    version: str
    most_couplings: int

    def reduce(self, bqm: bytes) -> Reduction | None:
        """The reduction of a model in dimod's file format; None where it is too large to try."""


def size_text(facts: Facts) -> str:
    """The qubits that a job needs; where its model became smaller, before and after."""
    if not facts.smaller:
        return f"{facts.qubits} qubits"
    return f"{facts.qubits} qubits after reduction ({facts.variables} before)"


def settled(facts: Facts) -> str:
    """Why there is nothing to run; empty where the reduction has left something."""
    if not facts.reduction or facts.qubits:
        return ""
    return (
        f"the reduction ({facts.reduction}) decides all {facts.variables} variables, "
        "so there is nothing to run"
    )
