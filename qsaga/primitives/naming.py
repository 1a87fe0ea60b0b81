"""Names of jobs: the same script asks for the same jobs, in whatever process it runs."""

from __future__ import annotations

import threading
from collections import defaultdict

from qsaga.core.jobs import JobRequest

HASH_DIGITS = 32


class Ordinals:
    """Counts how often this process has asked for the same payload under the same name.

    Two runs of the same circuit in one script are two jobs, numbers 0 and 1; in the next process
    they are found again by the same numbers.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, set[int]] = defaultdict(set)

    def take(self, name: str) -> int:
        """The lowest number that is free, from 0."""
        with self._lock:
            taken = self._taken[name]
            number = next(n for n in range(len(taken) + 1) if n not in taken)
            taken.add(number)
            return number

    def give_back(self, name: str, number: int) -> None:
        """For a job that could not be started: the next attempt is to find what became of it."""
        with self._lock:
            self._taken[name].discard(number)

    def rewind(self, prefix: str) -> None:
        """Forget every name that begins so."""
        with self._lock:
            for name in [name for name in self._taken if name.startswith(prefix)]:
                del self._taken[name]


ORDINALS = Ordinals()
"""Of this process: two primitives of the same experiment do not share a job."""


def stem(request: JobRequest, prefix: str) -> str:
    """The name of a payload within a tenant and experiment, without its number."""
    return f"{request.tenant}/{prefix}.{request.payload_hash()[:HASH_DIGITS]}"


def numbered(request: JobRequest, name: str, number: int) -> JobRequest:
    """The request under the key that its name and number make."""
    key = f"{name.partition('/')[2]}.{number}"
    return request.model_copy(update={"key": key})
