"""Everything the vendor may answer, and which of our errors it becomes: one table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qsaga.core.errors import (
    NoSuchRemoteJob,
    PermanentProviderError,
    QsagaError,
    ResultUnusable,
    RunFailed,
    TransientProviderError,
    Undecided,
)


class Kind(StrEnum):
    """What went wrong, as far as it can be told from outside."""

    NOT_SENT = "not_sent"
    NO_REPLY = "no_reply"
    SERVER_ERROR = "server_error"
    CLIENT_REPEATED = "client_repeated"
    RATE_LIMITED = "rate_limited"
    UNAUTHORISED = "unauthorised"
    TOKEN_FILE = "token_file"  # noqa: S105
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    SCHEMA_DRIFT = "schema_drift"
    BAD_INPUT = "bad_input"
    NO_SUCH_JOB = "no_such_job"
    NOT_LISTED = "not_listed"
    UNKNOWN_STATUS = "unknown_status"
    NOT_ENDED = "not_ended"
    RUN_FAILED = "run_failed"
    CANCEL_TOO_LATE = "cancel_too_late"
    CHARGE_UNKNOWN = "charge_unknown"
    RESULT_GONE = "result_gone"
    RESULT_MALFORMED = "result_malformed"
    RESULT_SHAPE = "result_shape"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        kind: what went wrong.
        seen: how it shows on the wire.
        otherwise: the error that any call but a begun submission raises; None where the call
            answers nevertheless.
        submission: the error of a submission whose request may have left this machine; None
            where a submission cannot meet it.
        meaning: in words, for messages.
        does: what qsaga does about it.
        user: what the owner of the job sees.
    """

    kind: Kind
    seen: str
    otherwise: type[QsagaError] | None
    submission: type[QsagaError] | None
    meaning: str
    does: str
    user: str


_RETRIES = "calls again, with growing pauses, while the budget of the step lasts"
_ASKS_FIRST = (
    "looks for the job by its tag and sends again only when everything that was sent must be "
    "listed and nothing is"
)
_NOTHING = "nothing but time; after the budget, the next rung answers"
_NEXT_RUNG = "an attempt that failed with this reason; the next rung answers"

ROWS: tuple[Row, ...] = (
    Row(
        Kind.NOT_SENT,
        "connection refused, unknown host, certificate not accepted; identity service down or 5xx; "
        "no time left before sending",
        TransientProviderError,
        TransientProviderError,
        "the request was not sent",
        _RETRIES,
        _NOTHING,
    ),
    Row(
        Kind.NO_REPLY,
        "connection dropped, reply cut off, no reply in time; status 408",
        TransientProviderError,
        Undecided,
        "no reply came",
        f"a read: {_RETRIES}; a submission: {_ASKS_FIRST}",
        _NOTHING,
    ),
    Row(
        Kind.SERVER_ERROR,
        "status 5xx",
        TransientProviderError,
        Undecided,
        "the service failed",
        f"a read: {_RETRIES}; a submission: {_ASKS_FIRST}",
        _NOTHING,
    ),
    Row(
        Kind.CLIENT_REPEATED,
        "the client's own repetitions are on (`QSAGA_IBM__CLIENT_RETRIES`), it sent a submission "
        "more than once, and the last reply is no acceptance, whatever else it is",
        None,
        Undecided,
        "the client repeated the request and an earlier one may have been accepted",
        f"{_ASKS_FIRST}; of several jobs one is kept, the others are cancelled and booked",
        "nothing but time; charges of extra jobs, as such",
    ),
    Row(
        Kind.RATE_LIMITED,
        "status 425, 429",
        TransientProviderError,
        TransientProviderError,
        "the service asks for patience",
        "calls again after `Retry-After`, else as any call that may work later",
        _NOTHING,
    ),
    Row(
        Kind.UNAUTHORISED,
        "status 401, or 400, 401, 403 of the identity service, twice: between the two the "
        "credentials are read again and the client is built anew",
        PermanentProviderError,
        PermanentProviderError,
        "the credentials are not accepted",
        "gives the call up; the next call reads the credentials again; a wait in the queue goes on",
        _NEXT_RUNG,
    ),
    Row(
        Kind.TOKEN_FILE,
        "`QSAGA_IBM__TOKEN_FILE` is not there, cannot be read or is empty: nothing is sent",
        TransientProviderError,
        TransientProviderError,
        "the API key cannot be read",
        _RETRIES,
        _NOTHING,
    ),
    Row(
        Kind.REFUSED,
        "any other status 4xx (400, 403, 404, 409, 413, 422, …)",
        PermanentProviderError,
        PermanentProviderError,
        "the service refused the request",
        "gives the call up; nothing was accepted",
        _NEXT_RUNG,
    ),
    Row(
        Kind.UNREADABLE,
        "status 2xx or 3xx with a body that is no JSON",
        TransientProviderError,
        Undecided,
        "the reply cannot be read",
        f"a read: {_RETRIES}; a submission: {_ASKS_FIRST}",
        _NOTHING,
    ),
    Row(
        Kind.SCHEMA_DRIFT,
        "JSON that lacks a field which the adapter relies on, or has another type there",
        TransientProviderError,
        Undecided,
        "schema drift",
        f"a read: {_RETRIES}; a submission: {_ASKS_FIRST}",
        "endpoint and field in the reason, should the budget end",
    ),
    Row(
        Kind.BAD_INPUT,
        "the client itself refuses the input, before sending",
        PermanentProviderError,
        PermanentProviderError,
        "the client refused the input",
        "gives the call up; nothing was sent",
        _NEXT_RUNG,
    ),
    Row(
        Kind.NO_SUCH_JOB,
        "status 404, 410 of one job, its metrics or its cancel",
        NoSuchRemoteJob,
        None,
        "the service does not know the job",
        "takes a job that was sent just now for one that is not listed yet; otherwise a person "
        "decides, and nothing is sent again",
        "another rung's answer; the job's account waits for a person",
    ),
    Row(
        Kind.NOT_LISTED,
        "the list by tag lacks a job that was accepted just now",
        None,
        None,
        "the job is not listed",
        "believes an empty list only `found_within` seconds after the last request was begun",
        "nothing but time",
    ),
    Row(
        Kind.UNKNOWN_STATUS,
        "a job whose status is none of Queued, Running, Completed, Failed, Cancelled",
        None,
        None,
        "unknown status",
        "goes on waiting: the state is `unknown`, never failed",
        _NOTHING,
    ),
    Row(
        Kind.NOT_ENDED,
        "the result is asked for before the job has ended in a way that is known",
        TransientProviderError,
        None,
        "the job has not completed",
        "asks for the status again",
        "nothing",
    ),
    Row(
        Kind.RUN_FAILED,
        "the job's status is Failed or Cancelled (also: cancelled for its length, reason code "
        "1305); the result is asked for",
        RunFailed,
        None,
        "the job ended without a result",
        "books the charge",
        _NEXT_RUNG,
    ),
    Row(
        Kind.CANCEL_TOO_LATE,
        "status 409 of a cancel",
        None,
        None,
        "the job has ended or can no longer be stopped",
        "asks for the status; the job is followed to its end and its charge booked",
        "the charge, and a late result if there is one",
    ),
    Row(
        Kind.CHARGE_UNKNOWN,
        "metrics of an ended job fail, drifted, or leave the usage pending",
        None,
        None,
        "charge unknown",
        "asks again; if nothing is ever told, a person decides",
        "the cost is estimated until it is known",
    ),
    Row(
        Kind.RESULT_GONE,
        "status 204, 404, 410 or an empty body in place of a completed job's result",
        ResultUnusable,
        None,
        "result gone",
        "asks again for 20 s, since it may only be late or cut off; books the charge",
        _NEXT_RUNG,
    ),
    Row(
        Kind.RESULT_MALFORMED,
        "a result that is no JSON, or that the client's decoder cannot read",
        ResultUnusable,
        None,
        "result malformed",
        "asks again for 20 s, since it may only be late or cut off; books the charge",
        _NEXT_RUNG,
    ),
    Row(
        Kind.RESULT_SHAPE,
        "a result that is not one circuit's counts, or not its values with their errors",
        ResultUnusable,
        None,
        "result of wrong shape",
        "asks again for 20 s, since it may only be late or cut off; books the charge",
        _NEXT_RUNG,
    ),
)
"""The table, shown in docs/provider-errors.md."""

TABLE: dict[Kind, Row] = {row.kind: row for row in ROWS}
