"""A worker whose solver does not listen: nothing but the end of the process stops it."""

from __future__ import annotations

import time
from typing import Any

import worker
from adapters.annealing import NealSolver


def deaf(*_args: Any, **_named: Any) -> bytes:
    """Longer than any drain, without looking up."""
    time.sleep(600)
    return b""


if __name__ == "__main__":
    NealSolver.solve = deaf  # type: ignore[method-assign]
    worker.main()
