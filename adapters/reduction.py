"""Models reduced by roof duality before they are encoded."""

from __future__ import annotations

from qsaga.core.reduction import Reduction
from qsaga.problems.reduction import MOST_TERMS, REDUCTION, reduce_model
from qsaga.problems.verify import load_model


class RoofDuality:
    """Strong persistencies, isolated variables and small components (implements ``Reducer``)."""

    version = REDUCTION
    most_couplings = MOST_TERMS

    def reduce(self, bqm: bytes) -> Reduction | None:
        """See ``reduce_model``."""
        return reduce_model(load_model(bqm))
