"""What a vendor's package offers beside ``BackendV2``, and its exceptions in the port's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qsaga.core.errors import (
    NoSuchRemoteJob,
    PermanentProviderError,
    ProviderError,
    QsagaError,
    TransientProviderError,
    Undecided,
)
from qsaga.core.ports import RemoteJob, RemoteState, RunSpec, SubmissionKey

Charge = Callable[[RemoteJob, Any], float]
"""Quantum seconds of an ended job, from the job and its ``qiskit.result.Result`` (None if it has
none, or none that can be fetched)."""

Errors = Callable[[Exception], type[ProviderError] | None]
"""Which of our errors an exception of the vendor is; None if it cannot tell."""


def free(_job: RemoteJob, _result: Any) -> float:
    """Nothing is charged: a simulator of one's own."""
    return 0.0


def time_taken(otherwise: float) -> Charge:
    """A charge by what the result says in ``time_taken``, in seconds.

    Args:
        otherwise: the charge, in seconds, of a completed job whose result does not say, and of
            one that failed or was cancelled after it was seen running.
    """

    def charge(job: RemoteJob, result: Any) -> float:
        told = getattr(result, "time_taken", None)
        if isinstance(told, int | float) and told >= 0:
            return float(told)
        ran = job.state is RemoteState.COMPLETED or job.running is not None
        return otherwise if ran else 0.0

    return charge


def no_options(_key: SubmissionKey, _spec: RunSpec) -> Mapping[str, Any]:
    """No options of ``run`` but the shots."""
    return {}


def cannot_tell(error: Exception) -> None:
    """Leaves every exception to the rules that hold for all vendors."""


@dataclass(frozen=True)
class Vendor:
    """How a vendor differs from a simulator in this process.

    Args:
        retrieve_job: gives the ``JobV1`` of an id in any process; raises LookupError, or returns
            None, for an id that the vendor does not know. None: jobs live and die with the
            process that runs them. A vendor that runs jobs elsewhere must have one, or jobs would
            be sent twice.
        charge: what an ended job cost. Must be given where ``retrieve_job`` is.
        run_options: further options of ``backend.run``, such as a token that the vendor knows a
            submission by, or a limit of its execution.
        idempotent: ``run_options`` makes ``run`` repeatable: the same key gives the same job.
        errors: reads exceptions of the vendor. What it names in a submission, other than
            Undecided, must mean that the vendor surely accepted nothing.
        probe: asks the vendor whether a backend takes jobs, and how many wait there (None if it
            does not say).
        max_shots: most shots of one circuit.
    """

    retrieve_job: Callable[[str], Any] | None = None
    charge: Charge = free
    run_options: Callable[[SubmissionKey, RunSpec], Mapping[str, Any]] = no_options
    idempotent: bool = False
    errors: Errors = cannot_tell
    probe: Callable[[Any], tuple[bool, int | None]] | None = None
    max_shots: int | None = None

    def __post_init__(self) -> None:
        if self.retrieve_job is not None and self.charge is free:
            raise ValueError("a vendor needs charge=: what does a job cost that says no time?")

    @property
    def local(self) -> bool:
        """Whether jobs live and die with the process that runs them."""
        return self.retrieve_job is None

    def kind(self, error: Exception) -> type[ProviderError]:
        """What an exception of any call but ``run`` means.

        One that nobody knows is transient: a charged job is not given up for a message that
        cannot be read.
        """
        return self.errors(error) or TransientProviderError

    def refusal(self, error: Exception) -> type[ProviderError] | None:
        """What an exception of ``run`` means; None if the job may have been accepted."""
        kind = self.errors(error)
        if kind is None and self.local:
            # Nothing is running: ``run`` would have returned the job.
            transient = isinstance(error, OSError | MemoryError)
            return TransientProviderError if transient else PermanentProviderError
        return None if kind is None or issubclass(kind, Undecided) else kind

    def retrieve(self, job_id: str) -> Any:
        """The vendor's job. Raises NoSuchRemoteJob, or what ``kind`` makes of an exception."""
        if self.retrieve_job is None:
            raise NoSuchRemoteJob(f"no job {job_id}")
        try:
            job = self.retrieve_job(job_id)
        except QsagaError:
            raise
        except LookupError as error:
            raise NoSuchRemoteJob(f"no job {job_id}: {error}") from error
        except Exception as error:
            raise self.kind(error)(told("looking for a job", error)) from error
        if job is None:
            raise NoSuchRemoteJob(f"no job {job_id}")
        return job


def told(what: str, error: Exception) -> str:
    """An exception of a vendor in one line."""
    text = " ".join(str(error).split())[:300]
    return f"{what}: {type(error).__name__}" + (f": {text}" if text else "")
