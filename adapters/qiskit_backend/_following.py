"""Jobs after they were accepted: how they stand, their results, their end, their charge."""

from __future__ import annotations

import logging
import threading
from collections.abc import MutableMapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from qiskit.providers import JobStatus

from adapters.qiskit_backend._journal import Entry, Journal
from adapters.qiskit_backend._processes import Processes
from adapters.qiskit_backend._recipes import read
from adapters.qiskit_backend._vendor import Vendor, told
from qsaga.core.errors import (
    NoSuchRemoteJob,
    ProviderError,
    QsagaError,
    ResultUnusable,
    RunFailed,
    TransientProviderError,
)
from qsaga.core.ports import CircuitResult, RemoteJob, RemoteState

GONE = "the process that ran it is gone"
CHARGE_PATIENCE = timedelta(hours=1)
"""How long a result that cannot be fetched keeps the charge of an ended job open."""

_STATES = {
    JobStatus.INITIALIZING: RemoteState.QUEUED,
    JobStatus.VALIDATING: RemoteState.QUEUED,
    JobStatus.QUEUED: RemoteState.QUEUED,
    JobStatus.RUNNING: RemoteState.RUNNING,
    JobStatus.DONE: RemoteState.COMPLETED,
    JobStatus.ERROR: RemoteState.FAILED,
    JobStatus.CANCELLED: RemoteState.CANCELLED,
}

_log = logging.getLogger("qsaga.provider")


class Follower:
    """Follows jobs. Blocking; thread-safe, and safe between processes.

    Args:
        journal: where the jobs are written down.
        processes: that may have run them.
        vendor: whom to ask.
        jobs: the vendor's objects in this process, by id.
    """

    def __init__(
        self,
        journal: Journal,
        processes: Processes,
        vendor: Vendor,
        jobs: MutableMapping[str, Any],
    ) -> None:
        self._journal, self._processes, self._vendor = journal, processes, vendor
        self._jobs = jobs

    def began(self, remote: RemoteJob, job: Any) -> None:
        """Keep the vendor's object of a job that was just accepted.

        The end of a job that lives in this process is written down as soon as it comes: no other
        process could find it out.
        """
        self._jobs[remote.provider_job_id] = job
        if self._vendor.local:
            work = threading.Thread(
                target=self._await, args=(remote.provider_job_id, job), daemon=True
            )
            work.start()

    def _await(self, job_id: str, job: Any) -> None:
        try:
            job.result()
        except Exception as error:  # noqa: BLE001 - the look below finds out what it means
            _log.debug("job %s: %s", job_id, error)
        try:
            self.look(self.entry(job_id))
        except QsagaError as error:
            _log.warning("the end of job %s could not be written down yet: %s", job_id, error)

    def entry(self, job_id: str) -> Entry:
        """A job of the journal, or one that only the vendor knows.

        Raises NoSuchRemoteJob, TransientProviderError.
        """
        known = self._journal.job(job_id)
        if known is not None:
            return known
        job = self._vendor.retrieve(job_id)
        try:
            backend = str(job.backend().name)
        except Exception as error:
            raise self._vendor.kind(error)(told("looking at a job", error)) from error
        remote = RemoteJob(provider_job_id=job_id, backend=backend, state=RemoteState.UNKNOWN)
        return self._journal.accepted(remote, self._processes.me(), None, None)

    def look(self, entry: Entry) -> Entry:
        """The job as it stands now; written down where that has changed.

        Raises TransientProviderError, or what the vendor's exception is said to mean.
        """
        if entry.settled:
            return entry
        job_id = entry.remote.provider_job_id
        job = self._object(entry)
        if job is None:
            return self._of_another_process(entry)
        try:
            said = job.status()
        except Exception as error:
            raise self._vendor.kind(error)(told("status", error)) from error
        state = _STATES.get(said, RemoteState.UNKNOWN)
        if state is RemoteState.UNKNOWN:
            unknown = {"state": state, "reason": f"unknown status {said!r}"}
            return replace(entry, remote=entry.remote.model_copy(update=unknown))
        if state.ended:
            entry = self._journal.note(self._ended(entry, job, state))
            if entry.settled:
                self._jobs.pop(job_id, None)
            return entry
        running = entry.remote.running or (
            datetime.now(UTC) if state is RemoteState.RUNNING else None
        )
        if (state, running) == (entry.remote.state, entry.remote.running):
            return entry
        return self._journal.note(_changed(entry, state=state, running=running))

    def _object(self, entry: Entry) -> Any:
        """The vendor's object; None for a job of another process, or one that has just ended."""
        job_id = entry.remote.provider_job_id
        job = self._jobs.get(job_id)
        if job is None and not self._vendor.local:
            job = self._jobs[job_id] = self._vendor.retrieve(job_id)
        return job

    def _of_another_process(self, entry: Entry) -> Entry:
        job_id = entry.remote.provider_job_id
        lives = self._processes.alive(entry.owner)
        # Read after asking, since it may have written down the end just before its own.
        entry = self._journal.job(job_id) or entry
        if lives or entry.settled:
            return entry
        lost = _changed(entry, state=RemoteState.FAILED, reason=GONE, finished=datetime.now(UTC))
        return self._journal.note(self._charged(lost, None))

    def _ended(self, entry: Entry, job: Any, state: RemoteState) -> Entry:
        entry = _changed(entry, state=state, finished=entry.remote.finished or datetime.now(UTC))
        if state is RemoteState.CANCELLED:
            return self._charged(entry, None)
        try:
            result = job.result()
        except Exception as error:  # noqa: BLE001 - what it means depends on the state
            return self._without_result(entry, error)
        if state is RemoteState.FAILED or not getattr(result, "success", True):
            reason = str(getattr(result, "status", None) or "the job failed")
            return self._charged(
                _changed(entry, state=RemoteState.FAILED, reason=reason[:1000]), result
            )
        try:
            entry = replace(entry, result=_read(entry, result))
        except ResultUnusable as error:
            entry = replace(entry, unusable=str(error))
        return self._charged(entry, result)

    def _without_result(self, entry: Entry, error: Exception) -> Entry:
        if entry.remote.state is RemoteState.FAILED:
            return self._charged(_changed(entry, reason=told("failed", error)), None)
        since = entry.remote.finished or datetime.now(UTC)
        if not issubclass(self._vendor.kind(error), TransientProviderError):
            entry = replace(entry, unusable=told("no result", error))
        elif datetime.now(UTC) - since < CHARGE_PATIENCE:
            return entry
        return self._charged(entry, None)

    def _charged(self, entry: Entry, result: Any) -> Entry:
        seconds = self._vendor.charge(entry.remote, result)
        return _changed(entry, quantum_seconds=float(seconds))

    def result(self, job_id: str) -> CircuitResult:
        """The result of a completed job. Raises RunFailed, ResultUnusable,
        TransientProviderError if it has not ended, or what the vendor's exception means."""
        entry = self.look(self.entry(job_id))
        remote = entry.remote
        if remote.state in (RemoteState.FAILED, RemoteState.CANCELLED):
            raise RunFailed(f"job {job_id} {remote.state}: {remote.reason or 'no reason'}")
        if remote.state is not RemoteState.COMPLETED:
            raise TransientProviderError(
                f"job {job_id} has not completed: {remote.reason or remote.state}"
            )
        if entry.unusable is not None:
            raise ResultUnusable(entry.unusable)
        if entry.result is not None:
            return entry.result
        try:
            return _read(entry, self._object(entry).result())
        except QsagaError:
            raise
        except Exception as error:
            raise self._unfetched(error) from error

    def _unfetched(self, error: Exception) -> QsagaError:
        kind: type[ProviderError] = self._vendor.kind(error)
        if issubclass(kind, NoSuchRemoteJob):
            return ResultUnusable(told("the result is gone", error))
        return kind(told("result", error))

    def cancel(self, job_id: str) -> Entry:
        """Ask for the end of a job; how it stands afterwards.

        A vendor that cannot cancel, and a process that does not run the job, leave it as it is.
        """
        entry = self.entry(job_id)
        if entry.settled:
            return entry
        job = self._object(entry)
        if job is None:
            return self.look(entry)
        try:
            job.cancel()
        except NotImplementedError:
            return self.look(entry)
        except Exception as error:
            # Vendors refuse to cancel what has ended, each in its own way.
            entry = self.look(entry)
            if entry.remote.state.ended:
                return entry
            raise self._vendor.kind(error)(told("cancel", error)) from error
        return self.look(entry)


def _changed(entry: Entry, **values: Any) -> Entry:
    return replace(entry, remote=entry.remote.model_copy(update=values))


def _read(entry: Entry, result: Any) -> CircuitResult:
    if entry.recipe is None:
        raise ResultUnusable("the journal does not know what this job was asked")
    return read(entry.recipe, result)
