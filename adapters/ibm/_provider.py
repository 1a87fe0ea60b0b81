"""The provider: each method of the port as one bounded call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from qiskit.transpiler import Target

from adapters.compiling import compile_for
from adapters.ibm import _sessions
from adapters.ibm._account import Account, Connection
from adapters.ibm._backends import Backends
from adapters.ibm._calls import Calls
from adapters.ibm._errors import recognise
from adapters.ibm._jobs import circuit_result, metrics_of, one_job, outlook, remote_job
from adapters.ibm._listing import listed
from adapters.ibm._schema import InstanceUsage, read
from adapters.ibm._submitting import sent
from adapters.ibm._table import TABLE, Kind
from adapters.ibm._wire import GivenUp, running_call
from qsaga.core.caching import Shelf
from qsaga.core.errors import RunFailed, TransientProviderError
from qsaga.core.facts import BackendFacts
from qsaga.core.ports import (
    Capabilities,
    CircuitResult,
    Compiled,
    CompileTarget,
    Health,
    Outlook,
    RemoteJob,
    RemoteSession,
    RemoteState,
    RunSpec,
    SessionSpec,
    SubmissionKey,
    Usage,
)
from qsaga.settings import IBMSettings

_NO_TIME = datetime.max.replace(tzinfo=UTC)
_GONE = frozenset({404, 410})
_CONFLICT = 409


class IBMProvider:
    """IBM Quantum Platform, or an emulator of it: the settings alone tell which.

    Nothing is sent before the first call. Every call ends within ``settings.call_timeout``
    seconds. When the credentials fail, they are read again and the client is built anew, once
    for each call. What the client raises, and replies that are not of the form we know, are
    turned into our errors by the table ``ROWS``.

    Args:
        settings: the account; token and instance are needed.
        reread: returns the settings anew when the credentials have failed; None keeps them.
    """

    name = "ibm"

    def __init__(
        self, settings: IBMSettings, reread: Callable[[], IBMSettings] | None = None
    ) -> None:
        self.capabilities = Capabilities(
            idempotent=False,
            repeats=settings.client_retries,
            searchable=True,
            found_within=settings.grace,
            session_modes=("dedicated", "batch"),
            mitigation=True,
        )
        self._account = Account(settings, reread)
        self._backends = Backends()
        self._calls = Calls(self._account, settings.call_timeout)

    async def health(self) -> Health:
        """Whether jobs can be listed: reachable, the credentials accepted. Never raises."""
        return await self._calls.health(lambda connection: connection.client.jobs_get(limit=1))

    async def backends(self) -> tuple[BackendFacts, ...]:
        """All backends of the instance; not operational unless the service says "online"."""
        return await self._calls.run(
            "backends", lambda connection: self._backends.facts(connection, self.name)
        )

    async def target(self, backend: str) -> CompileTarget:
        """The ISA of the backend by its calibration of now.

        Raises:
            PermanentProviderError: no such backend.
        """

        def work(connection: Connection) -> CompileTarget:
            known = self._backends.known(connection, backend, fresh=True)
            target = known.machine.target
            return CompileTarget(
                backend=backend,
                qubits=target.num_qubits,
                operations=tuple(sorted(target.operation_names)),
                couplings=len({frozenset(pair) for pair in _pairs(target)}),
                calibration_id=known.machine.calibration_id,
            )

        return await self._calls.run("target", work)

    async def compile(
        self, qpy: bytes, backend: str, seed: int, spec: RunSpec, shelf: Shelf | None = None
    ) -> Compiled:
        """Transpile with the backend's calibration of now.

        Raises:
            CompileError: no circuit, too many qubits, parameters without a value, a circuit to
                sample that does not measure or one to estimate on that does.
            PermanentProviderError: no such backend.
        """

        def work(connection: Connection) -> Compiled:
            known = self._backends.known(connection, backend, fresh=True)
            return compile_for(known.machine, qpy, seed, spec, shelf=shelf)

        return await self._calls.run("compile", work)

    async def find(self, tag: str) -> tuple[RemoteJob, ...]:
        """All jobs of the instance that carry the tag, oldest first; without their charges."""

        def work(connection: Connection) -> tuple[RemoteJob, ...]:
            return _oldest_first([remote_job(raw) for raw in listed(connection.client, tag)])

        return await self._calls.run("find", work)

    async def pending(self, deployment_tag: str) -> tuple[RemoteJob, ...]:
        """The deployment's jobs that have not ended, oldest first, by one request for 200.

        A job that stands all the while is told, whatever others come and end meanwhile.
        """

        def work(connection: Connection) -> tuple[RemoteJob, ...]:
            jobs = map(remote_job, listed(connection.client, deployment_tag, pending=True))
            return _oldest_first([job for job in jobs if not job.state.ended])

        return await self._calls.run("pending", work)

    async def submit(
        self,
        isa_qpy: bytes,
        layout: tuple[int, ...],
        backend: str,
        spec: RunSpec,
        key: SubmissionKey,
        session: str | None = None,
    ) -> RemoteJob:
        """Send one job, by one request that is never repeated (but see ``client_retries``).

        Raises:
            Undecided: the request may have left and no reply tells what became of it.
            TransientProviderError: surely not accepted; the same call may work later.
            PermanentProviderError: refused.
        """

        def work(connection: Connection) -> RemoteJob:
            target = self._backends.known(connection, backend, fresh=False).backend
            return RemoteJob(
                provider_job_id=sent(target, isa_qpy, layout, spec, key, session),
                backend=backend,
                state=RemoteState.QUEUED,
                tags=(key.deployment_tag, key.tag),
            )

        return await self._calls.run("submit", work)

    async def usage(self) -> Usage:
        """What the instance has used, all deployments on it together."""

        def work(connection: Connection) -> Usage:
            said = read(InstanceUsage, connection.client.cloud_usage(), "GET /instances/usage")
            limit = said.usage_limit_seconds or said.usage_allocation_seconds
            return Usage(consumed=said.usage_consumed_seconds, limit=limit)

        return await self._calls.run("usage", work)

    async def status(self, provider_job_id: str) -> RemoteJob:
        """The job as it stands: one request until it has ended, two afterwards.

        ``quantum_seconds`` stays None while the service has not closed the job's account, or
        does not tell; ``reason`` says why, if that is known.

        Raises:
            NoSuchRemoteJob: the service does not know the job, or not yet.
        """
        return await self._calls.run(
            "status", lambda connection: _status(connection, provider_job_id)
        )

    async def outlook(self, provider_job_id: str) -> Outlook:
        """Place in the queue and expected start, where the service tells them.

        Raises:
            NoSuchRemoteJob: the service does not know the job.
        """
        return await self._calls.run(
            "outlook",
            lambda connection: outlook(metrics_of(connection.client, provider_job_id)),
        )

    async def result(self, provider_job_id: str) -> CircuitResult:
        """Result of a completed job.

        Raises:
            RunFailed: the job failed or was cancelled.
            ResultUnusable: the result is gone, malformed, or has a wrong shape.
            TransientProviderError: the job has not ended, or not in a way that we know.
            NoSuchRemoteJob: the service does not know the job.
        """

        def work(connection: Connection) -> CircuitResult:
            raw = one_job(connection.client, provider_job_id)
            job = remote_job(raw)
            if job.state in (RemoteState.FAILED, RemoteState.CANCELLED):
                raise RunFailed(f"job {provider_job_id} {job.state}: {job.reason or 'no reason'}")
            if job.state is not RemoteState.COMPLETED:
                raise TransientProviderError(
                    f"{TABLE[Kind.NOT_ENDED].meaning}: {provider_job_id} is "
                    f"{job.reason or job.state}"
                )
            program = raw.program.id if raw.program else ""
            return circuit_result(_results(connection, provider_job_id), program)

        return await self._calls.run("result", work)

    async def cancel(self, provider_job_id: str) -> RemoteJob:
        """Ask for the job's end. A job that has ended already is answered with its status.

        Raises:
            NoSuchRemoteJob: the service does not know the job.
        """

        def work(connection: Connection) -> RemoteJob:
            try:
                connection.client.job_cancel(provider_job_id)
            except Exception as error:
                if getattr(error, "status_code", None) != _CONFLICT:
                    raise
            return _status(connection, provider_job_id)

        return await self._calls.run("cancel", work)

    async def open_session(self, spec: SessionSpec) -> RemoteSession:
        """Open a session or a batch, by one request.

        Raises:
            PermanentProviderError: the plan or the backend does not offer it.
        """
        return await self._calls.run(
            "open session",
            lambda connection: _sessions.opened(connection.client, connection.instance, spec),
        )

    async def session(self, session_id: str) -> RemoteSession:
        """The session as it stands. Raises PermanentProviderError if there is none."""
        return await self._calls.run(
            "session", lambda connection: _sessions.described(connection.client, session_id)
        )

    async def close_session(self, session_id: str) -> RemoteSession:
        """Close the session and cancel what waits in it; safe to repeat.

        Raises:
            PermanentProviderError: there is none.
        """
        return await self._calls.run(
            "close session", lambda connection: _sessions.closed(connection.client, session_id)
        )


def _pairs(target: Target) -> Iterator[tuple[int, ...]]:
    for name in target.operation_names:
        yield from (qubits for qubits in target[name] or () if qubits and len(qubits) == 2)


def _oldest_first(jobs: list[RemoteJob]) -> tuple[RemoteJob, ...]:
    return tuple(sorted(jobs, key=lambda job: job.created or _NO_TIME))


def _status(connection: Connection, job_id: str) -> RemoteJob:
    raw = one_job(connection.client, job_id)
    job = remote_job(raw)
    if not job.state.ended:
        return job
    try:
        return remote_job(raw, metrics_of(connection.client, job_id))
    except GivenUp:
        raise
    except Exception as error:  # noqa: BLE001 - the state is known, the rest is left open
        why = f"{TABLE[Kind.CHARGE_UNKNOWN].meaning}: {recognise(error, running_call()).text}"
        return job.model_copy(update={"reason": f"{job.reason}; {why}" if job.reason else why})


def _results(connection: Connection, job_id: str) -> str:
    try:
        return str(connection.client.job_results(job_id))
    except Exception as error:
        if getattr(error, "status_code", None) not in _GONE:
            raise
        return ""
