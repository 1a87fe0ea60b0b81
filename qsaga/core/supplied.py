"""Answers that nothing computed here: a person's, or a model's that has learned from the past."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qsaga.core.contract import StrictContract

BitString = Annotated[str, Field(pattern=r"^[01]+$")]


class SuppliedAnswer(StrictContract):
    """An answer from outside; it is checked against the input like any other.

    Args:
        assignment: of an optimise job: 0 or 1 for every variable of its model, by name.
        counts: of a sample job: for each classical register a map from bit string (bit 0
            rightmost) to how often.
        values: of an estimate job: one for each observable, in order.
        standard_errors: of ``values``.
    """

    assignment: dict[str, Literal[0, 1]] | None = None
    counts: dict[str, dict[BitString, Annotated[int, Field(ge=0)]]] | None = None
    values: tuple[float, ...] | None = None
    standard_errors: tuple[Annotated[float, Field(ge=0)], ...] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [
            name for name in ("assignment", "counts", "values") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                "exactly one of assignment (optimise), counts (sample) and values (estimate) is "
                f"expected, not {', '.join(given) or 'none'}"
            )
        errors = self.standard_errors
        if (errors is None) is not (self.values is None) or len(errors or ()) != len(
            self.values or ()
        ):
            raise ValueError("values and standard_errors: as many of the one as of the other")
        return self
