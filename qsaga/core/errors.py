"""Every error that qsaga raises, and what each becomes at a boundary.

QsagaError
├── InvalidRequest          the caller must change the request            (never retried)
├── KeyConflict             the key was used with another payload         (never retried)
├── PolicyRefused           the policy allows no route                    (never retried)
├── Unauthenticated         no caller, or a token that is not good       (never retried)
├── Forbidden               the caller may not do that                    (never retried)
├── BudgetExceeded          the job would cost more than it may           (never retried)
├── ProviderError
│   ├── TransientProviderError   the same call may work later             (retried)
│   ├── PermanentProviderError   the same call will never work            (never retried)
│   └── Undecided                a submission may or may not have arrived (looked up, then retried)
├── CompileError            the circuit does not fit the target           (never retried)
├── ResultUnusable          the provider's result cannot be read          (never retried)
├── RunFailed               the remote job ended without a result         (never retried)
├── SolverError             a solver refused its input                    (never retried)
├── DeadlineExceeded        a layer used up its time                      (never retried)
├── Unreachable             Temporal cannot be reached
├── UnknownKey              a payload is encrypted with a key that is not in the key file (retried)
├── PayloadDamaged          an encrypted payload does not open with its key (never retried)
└── NoSuchJob               nothing is known of the job
"""

from __future__ import annotations

from typing import ClassVar


class QsagaError(Exception):
    """Base of all errors of qsaga.

    ``retryable`` says whether the same call may succeed later; ``exit_code`` is what the
    command line ends with and ``http_status`` what a gateway answers.
    """

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500


class InvalidRequest(QsagaError):
    """A request that cannot be accepted as it is.

    Args:
        field: path of the field in the request, dots between the parts.
        problem: what was wrong.
        allowed: what would be accepted.
    """

    exit_code = 2
    http_status = 422

    def __init__(self, field: str, problem: str, allowed: str = "") -> None:
        self.field, self.problem, self.allowed = field, problem, allowed
        super().__init__(f"{field}: {problem}" + (f" (allowed: {allowed})" if allowed else ""))

    @classmethod
    def parse(cls, text: str) -> InvalidRequest:
        """The error again, from its text as it crossed a process boundary."""
        field, _, rest = text.partition(": ")
        problem, _, allowed = rest.removesuffix(")").partition(" (allowed: ")
        return cls(field, problem if allowed else rest, allowed)


class KeyConflict(QsagaError):
    """The key is already used by a job with another payload."""

    exit_code = 3
    http_status = 409


class PolicyRefused(QsagaError):
    """The policy leaves no way to answer the job."""

    exit_code = 4
    http_status = 403


class Unauthenticated(QsagaError):
    """No token came with a call that takes one, or it is expired, foreign or damaged."""

    exit_code = 8
    http_status = 401


class Forbidden(QsagaError):
    """The caller is known and may not do that."""

    exit_code = 8
    http_status = 403


class BudgetExceeded(QsagaError):
    """The job would cost more than its budget allows."""

    exit_code = 4
    http_status = 402


class ProviderError(QsagaError):
    """Something that a provider answered, or did not answer."""

    http_status = 502


class TransientProviderError(ProviderError):
    """The same call may succeed later.

    Args:
        message: what happened.
        retry_after: seconds that the provider asked us to wait, if it did.
    """

    retryable = True
    http_status = 503

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentProviderError(ProviderError):
    """The same call will never succeed: bad credentials, unknown backend, refused input."""


class Undecided(ProviderError):
    """A submission was sent and nothing says whether it was accepted."""

    retryable = True
    http_status = 503


class NeedsPerson(QsagaError):
    """What became of a submission cannot be found out without a person; it is quarantined."""

    http_status = 409


class NoSuchRemoteJob(PermanentProviderError):
    """The provider does not know a job of that id (any more)."""


class CompileError(QsagaError):
    """The circuit does not fit the backend."""


class ResultUnusable(QsagaError):
    """The provider says that the job is done but its result is gone or malformed."""


class RunFailed(QsagaError):
    """The remote job ended as failed or cancelled."""


class SolverError(QsagaError):
    """A solver cannot work on this input."""


class DeadlineExceeded(QsagaError):
    """A layer used up its time budget."""

    exit_code = 5
    http_status = 504


class Unreachable(QsagaError):
    """Temporal cannot be reached at the configured address."""

    exit_code = 6
    http_status = 503


class UnknownKey(QsagaError):
    """A payload is encrypted with a key that the key file does not have (yet)."""

    retryable = True
    http_status = 503


class PayloadDamaged(QsagaError):
    """An encrypted payload was changed, cut off, or is not what its metadata say."""


class NoSuchJob(QsagaError):
    """Nothing is known of a job of that id."""

    exit_code = 7
    http_status = 404


BY_NAME: dict[str, type[QsagaError]] = {
    error.__name__: error
    for error in (
        InvalidRequest,
        KeyConflict,
        PolicyRefused,
        Unauthenticated,
        Forbidden,
        BudgetExceeded,
        TransientProviderError,
        PermanentProviderError,
        Undecided,
        NoSuchRemoteJob,
        NeedsPerson,
        CompileError,
        ResultUnusable,
        RunFailed,
        SolverError,
        DeadlineExceeded,
        Unreachable,
        UnknownKey,
        PayloadDamaged,
        NoSuchJob,
    )
}
"""What crosses a process boundary is the class name: this finds the class again."""


def from_failure(name: str, message: str) -> QsagaError:
    """The error that a Temporal failure of this type stands for."""
    if name == InvalidRequest.__name__:
        return InvalidRequest.parse(message)
    return BY_NAME.get(name, QsagaError)(message)
