"""Tables as problems take them: a row and a column for each name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, StringConstraints
from pydantic_core import PydanticCustomError

from qsaga.problems.base import Floats

PlainName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^@]+$")]
"""A name; ``@`` separates it from what else is in the name of a variable."""

Amount = Annotated[float, Field(ge=0, le=1e9)]
"""A length, a flow, a cost."""

Table = tuple[tuple[float, ...], ...]


def check_square(table: Sequence[Sequence[object]], size: int, field: str) -> None:
    """Refuse a table that has not ``size`` rows of ``size`` numbers."""
    if len(table) != size:
        raise PydanticCustomError(
            "table_size",
            "{rows} rows for {size} names",
            {"rows": len(table), "size": size, "at": field, "allowed": "a row for each name"},
        )
    for index, row in enumerate(table):
        if len(row) != size:
            raise PydanticCustomError(
                "table_size",
                "{columns} numbers for {size} names",
                {
                    "columns": len(row),
                    "size": size,
                    "at": f"{field}.{index}",
                    "allowed": "a number for each name",
                },
            )


def check_symmetric(table: Table, field: str) -> None:
    """Refuse a table whose two halves differ by more than rounding."""
    values = frozen(table)
    wrong = np.abs(values - values.T) > 1e-9 * max(1e-300, float(np.max(np.abs(values))))
    if wrong.any():
        row, column = (int(place) for place in np.argwhere(wrong)[0])
        raise PydanticCustomError(
            "asymmetric",
            "{one} in row {row}, column {column}, but {other} the other way round",
            {
                "one": f"{table[row][column]:g}",
                "other": f"{table[column][row]:g}",
                "row": row,
                "column": column,
                "at": f"{field}.{row}.{column}",
                "allowed": "a symmetric table",
            },
        )


def frozen(values: npt.ArrayLike) -> Floats:
    """The values as an array that nobody can change, so that it can be kept."""
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array
