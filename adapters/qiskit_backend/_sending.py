"""Submissions: each key goes to the vendor once, and the journal is written around it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

from adapters.qiskit_backend._journal import Journal
from adapters.qiskit_backend._processes import Processes
from adapters.qiskit_backend._recipes import Recipe
from adapters.qiskit_backend._vendor import Vendor, told
from qsaga.core.errors import (
    QsagaError,
    TransientProviderError,
    Undecided,
)
from qsaga.core.ports import RemoteJob, RemoteState, RunSpec, SubmissionKey


class Attempt:
    """One call of ``submit``: shared by its thread and the event loop that may give it up."""

    def __init__(self) -> None:
        self._begun = self._given_up = False
        self._lock = threading.Lock()

    def begin(self) -> None:
        """From here on something may be sent. Raises TransientProviderError if given up."""
        with self._lock:
            if self._given_up:
                raise TransientProviderError("given up before anything was sent")
            self._begun = True

    def give_up(self) -> bool:
        """Let it not begin any more. Returns whether it has begun."""
        with self._lock:
            self._given_up = True
            return self._begun


class Sender:
    """Sends circuits, once for each key. Blocking; thread-safe, and safe between processes."""

    def __init__(self, journal: Journal, processes: Processes, vendor: Vendor) -> None:
        self._journal, self._processes, self._vendor = journal, processes, vendor

    def send(
        self,
        attempt: Attempt,
        backend: Any,
        circuits: list[Any],
        recipe: Recipe,
        spec: RunSpec,
        key: SubmissionKey,
    ) -> tuple[RemoteJob, Any]:
        """Send, and return the job with the vendor's object of it.

        A job that the key has already is returned with None: nothing is sent.

        Raises:
            Undecided: an earlier attempt may have been accepted, or this one.
            TransientProviderError, PermanentProviderError: surely not accepted.
        """
        options = dict(self._vendor.run_options(key, spec))
        if known := self._journal.under(key.tag):
            return known[0].remote, None
        attempt.begin()
        me = self._processes.me()
        self._intend(key.tag, me)
        try:
            job = backend.run(circuits, shots=recipe.shots, **options)
        except Exception as error:
            raise self._failed(key.tag, me, error) from error
        try:
            job_id = job.job_id()
        except Exception as error:
            raise Undecided(told("the job has no id", error)) from error
        return self._accepted(str(job_id or ""), str(backend.name), me, key, recipe), job

    def _intend(self, tag: str, me: str) -> None:
        """Take the key. Raises Undecided if another attempt has it, whatever became of that."""
        if self._journal.intend(tag, me) or self._vendor.idempotent:
            return
        owner = self._journal.intended_by(tag)
        if owner is None:
            raise TransientProviderError("another attempt under this key has just been refused")
        # A job that lived in a process that is gone does nothing and costs nothing.
        gone = self._vendor.local and not self._processes.alive(owner)
        if gone and not self._journal.under(tag) and self._journal.take_over(tag, owner, me):
            return
        raise Undecided(
            f"a submission under {tag} was begun, and what became of it is not written down"
        )

    def _failed(self, tag: str, me: str, error: Exception) -> QsagaError:
        refusal = self._vendor.refusal(error)
        if refusal is None:
            return Undecided(told("submit", error))
        if not self._vendor.idempotent:
            # With a token another attempt under the same key may be on its way.
            self._journal.refused(tag, me)
        return refusal(told("submit", error))

    def _accepted(
        self, job_id: str, backend: str, me: str, key: SubmissionKey, recipe: Recipe
    ) -> RemoteJob:
        if not job_id:
            raise Undecided("the job has no id")
        remote = RemoteJob(
            provider_job_id=job_id,
            backend=backend,
            state=RemoteState.QUEUED,
            created=datetime.now(UTC),
        )
        try:
            return self._journal.accepted(remote, me, key, recipe).remote
        except TransientProviderError as error:
            raise Undecided(f"accepted as {job_id}, but not written down: {error}") from error
