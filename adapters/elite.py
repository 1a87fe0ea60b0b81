"""The best distinct samples of a search, and the energies of all its reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from threading import Lock
from typing import Any

import dimod
import numpy as np

from adapters.spins import Spins
from qsaga.problems.base import Floats

KEEP = 64
"""Distinct samples that are returned."""

MOST_ENERGIES = 1000
"""Energies of reads that are reported."""

REMEMBERED = 200_000
"""Energies that are remembered; beyond, every second one is let go."""


class Elite:
    """Samples of one model, best first; one thread adds while others look.

    Args:
        symmetric: whether a sample and its opposite are the same, as without fields.
    """

    def __init__(self, *, symmetric: bool) -> None:
        self.energies: list[float] = []
        self.lowest = float("inf")
        self._best: dict[bytes, tuple[float, int]] = {}
        self._symmetric = symmetric
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._best)

    def add(self, spins: Spins, energies: Floats) -> None:
        """Take reads in: spins of shape (reads, spins), energies of shape (reads,)."""
        if not len(energies):
            return
        rows = spins * spins[:, :1] if self._symmetric else spins
        with self._lock:
            for row, value in zip(rows.astype(np.int8), energies.tolist(), strict=True):
                key = row.tobytes()
                self._best[key] = (value, self._best.get(key, (value, 0))[1] + 1)
            if len(self._best) > 2 * KEEP:
                self._trim()
            self._remember(energies.tolist())

    def resume(self, model: dimod.BinaryQuadraticModel, samples: bytes) -> None:
        """Go on from a sample set of the same model that was found before."""
        before = dimod.SampleSet.from_serializable(json.loads(samples))
        order = [before.variables.index(name) for name in model.variables]
        rows = before.record.sample[:, order]
        spins = rows if before.vartype is dimod.SPIN else 2 * rows.astype(np.int8) - 1
        self.add(np.asarray(spins, dtype=np.int8), before.record.energy)

    def leading(self, count: int) -> Spins:
        """The best samples, at most ``count``; shape (samples, spins)."""
        ordered = sorted(self._best.items(), key=lambda item: item[1][0])[:count]
        return np.array([np.frombuffer(key, dtype=np.int8) for key, _ in ordered])

    def snapshot(self) -> tuple[dict[bytes, tuple[float, int]], list[float]]:
        """Energy and count of each sample, and the energies of all reads, as of now."""
        with self._lock:
            return dict(self._best), list(self.energies)

    def merge(self, others: Iterable[Elite]) -> Elite:
        """A new one, of what this one and others have found."""
        found = Elite(symmetric=self._symmetric)
        for one in (self, *others):
            best, energies = one.snapshot()
            for key, (value, count) in best.items():
                found._best[key] = (value, found._best.get(key, (value, 0))[1] + count)
            found._remember(energies)
        found._trim()
        return found

    def reported_energies(self) -> list[float]:
        """Energies of the reads, ascending; evenly thinned if there are too many."""
        ordered = sorted(self.energies)
        if len(ordered) <= MOST_ENERGIES:
            return ordered
        places = np.linspace(0, len(ordered) - 1, MOST_ENERGIES).round().astype(int)
        return [ordered[place] for place in places]

    def sample_set(self, model: dimod.BinaryQuadraticModel, info: dict[str, Any]) -> Any:
        """The kept samples, best first, in the model's own vartype and variable order."""
        self._trim()
        rows = self.leading(KEEP)
        return dimod.SampleSet.from_samples(
            (rows if model.vartype is dimod.SPIN else (rows + 1) // 2, list(model.variables)),
            vartype=model.vartype,
            energy=[energy for energy, _ in self._best.values()],
            num_occurrences=[count for _, count in self._best.values()],
            info=info,
            sort_labels=False,
        )

    def _remember(self, energies: list[float]) -> None:
        self.energies.extend(energies)
        if len(self.energies) > REMEMBERED:
            self.energies = sorted(self.energies)[::2]
        self.lowest = min([self.lowest, *energies])

    def _trim(self) -> None:
        kept = sorted(self._best.items(), key=lambda item: item[1][0])[:KEEP]
        self._best = dict(kept)
