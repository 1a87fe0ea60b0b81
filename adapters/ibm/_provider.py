"""The provider: each method of the port as one bounded call."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import EstimatorV2, SamplerV2

from adapters.ibm._account import Account, Connection
from adapters.ibm._backends import Backends
from adapters.ibm._compiling import compile_for, load_circuit
from adapters.ibm._errors import Kind, Trouble, recognise
from adapters.ibm._jobs import all_jobs, circuit_result, remote_job
from adapters.ibm._threads import Threads
from adapters.ibm._wire import POOL, Call, GivenUp
from qsaga.core.errors import (
    PermanentProviderError,
    ProviderError,
    QsagaError,
    ResultUnusable,
    RunFailed,
    TransientProviderError,
)
from qsaga.core.facts import BackendFacts
from qsaga.core.ports import CircuitResult, Compiled, RemoteJob, RemoteState, RunSpec, Usage
from qsaga.settings import IBMSettings

T = TypeVar("T")
_NO_TIME = datetime.max.replace(tzinfo=UTC)


class IBMProvider:
    """IBM Quantum Platform, or an emulator of it: the settings alone tell which.

    Nothing is sent before the first call. Every call ends within ``settings.call_timeout``
    seconds. When the credentials fail, they are read again and the client is built anew, once
    for each call. What the client raises is turned into our errors by the table ``ROWS``.

    Args:
        settings: the account; token and instance are needed.
        reread: returns the settings anew when the credentials have failed; None keeps them.
    """

    name = "ibm"

    def __init__(
        self, settings: IBMSettings, reread: Callable[[], IBMSettings] | None = None
    ) -> None:
        self._seconds = settings.call_timeout
        self._account = Account(settings, reread)
        self._backends = Backends()
        self._threads = Threads(POOL, "ibm-call")

    async def backends(self) -> tuple[BackendFacts, ...]:
        """All backends of the instance; not operational unless the service says "online"."""
        return await self._call(
            "backends", lambda connection: self._backends.facts(connection, self.name)
        )

    async def compile(self, qpy: bytes, backend: str, seed: int, spec: RunSpec) -> Compiled:
        """Transpile with the backend's calibration of now.

        Raises:
            CompileError: no circuit, too many qubits, parameters without a value, a circuit to
                sample that does not measure or one to estimate on that does.
            PermanentProviderError: no such backend.
        """

        def work(connection: Connection) -> Compiled:
            known = self._backends.known(connection, backend, fresh=True)
            return compile_for(known.calibrated, qpy, seed, spec)

        return await self._call("compile", work)

    async def find(self, tag: str) -> tuple[RemoteJob, ...]:
        """All jobs of the instance that carry the tag, oldest first; without their charges."""

        def work(connection: Connection) -> tuple[RemoteJob, ...]:
            found = [remote_job(raw) for raw in all_jobs(connection.client, tag)]
            return tuple(sorted(found, key=lambda job: job.created or _NO_TIME))

        return await self._call("find", work)

    async def submit(
        self,
        isa_qpy: bytes,
        layout: tuple[int, ...],
        backend: str,
        spec: RunSpec,
        tags: tuple[str, ...],
    ) -> RemoteJob:
        """Send one job, by one request that is never repeated.

        Raises:
            Undecided: the request may have left and no reply tells what became of it.
            TransientProviderError: surely not accepted; the same call may work later.
            PermanentProviderError: refused.
        """

        def work(connection: Connection) -> RemoteJob:
            target = self._backends.known(connection, backend, fresh=False).backend
            job = run_primitive(target, isa_qpy, layout, spec, tags)
            return RemoteJob(
                provider_job_id=job.job_id(), backend=backend, state=RemoteState.QUEUED
            )

        return await self._call("submit", work)

    async def usage(self) -> Usage:
        """What the instance has used, all deployments on it together."""

        def work(connection: Connection) -> Usage:
            said = connection.service.usage() or {}
            limit = said.get("usage_limit_seconds") or said.get("usage_allocation_seconds")
            return Usage(consumed=_number(said.get("usage_consumed_seconds")), limit=_number(limit))

        return await self._call("usage", work)

    async def status(self, provider_job_id: str) -> RemoteJob:
        """The job as it stands: one request while it is queued, two afterwards.

        ``quantum_seconds`` stays None while the service has not closed the job's account, or
        does not tell.
        """
        return await self._call(
            "status", lambda connection: self._status(connection, provider_job_id)
        )

    def _status(self, connection: Connection, job_id: str) -> RemoteJob:
        raw = connection.client.job_get(job_id)
        job = remote_job(raw)
        if job.state is RemoteState.QUEUED:
            return job
        try:
            metrics = connection.client.job_metadata(job_id)
        except Exception:  # noqa: BLE001 - the state is known, and None says that the rest is not
            return job
        return remote_job(raw, metrics)

    async def result(self, provider_job_id: str) -> CircuitResult:
        """Result of a completed job.

        Raises:
            RunFailed: the job failed or was cancelled.
            ResultUnusable: the result is gone, malformed, or has a wrong shape.
            TransientProviderError: the job has not ended, or not in a way that we know.
        """

        def work(connection: Connection) -> CircuitResult:
            raw = connection.client.job_get(provider_job_id)
            job = remote_job(raw)
            if job.state in (RemoteState.FAILED, RemoteState.CANCELLED):
                raise RunFailed(f"job {provider_job_id} {job.state}: {job.reason or 'no reason'}")
            if job.state is not RemoteState.COMPLETED:
                raise TransientProviderError(
                    f"job {provider_job_id} has not completed: {job.reason or job.state}"
                )
            program = raw.get("program")
            program = program.get("id") if isinstance(program, dict) else None
            return circuit_result(_results(connection, provider_job_id), str(program))

        return await self._call("result", work)

    async def cancel(self, provider_job_id: str) -> RemoteJob:
        """Ask for the job's end. A job that has ended already is answered with its status.

        Raises:
            PermanentProviderError: no such job.
        """

        def work(connection: Connection) -> RemoteJob:
            try:
                connection.client.job_cancel(provider_job_id)
            except Exception as error:
                if getattr(error, "status_code", None) != 409:
                    raise
            return self._status(connection, provider_job_id)

        return await self._call("cancel", work)

    async def _call(self, what: str, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a thread, bounded in time, its exceptions turned into our errors."""
        # The thread stops a little before we stop waiting, so that it can say why.
        call = Call(max(0.9 * self._seconds, self._seconds - 1.0))
        try:
            return await self._threads.run(lambda: self._attempt(what, call, work), self._seconds)
        except TimeoutError as error:
            begun = call.give_up()
            kind = Kind.NO_REPLY if begun or call.exchanges else Kind.NOT_SENT
            trouble = Trouble(kind, f"given up after {self._seconds:g} s")
            raise trouble.error(what, submission_begun=begun) from error
        except asyncio.CancelledError:
            call.give_up()
            raise

    def _attempt(self, what: str, call: Call, work: Callable[[Connection], T]) -> T:
        with call.active():
            try:
                return self._connected(what, call, work)
            except _CredentialsFailed as failed:
                # 401 means that nothing was accepted, so that even a submission may go again.
                self._account.drop(failed.connection)
                call.restart()
            try:
                return self._connected(what, call, work)
            except _CredentialsFailed as failed:
                self._account.drop(failed.connection)  # the next call reads them once more
                raise failed.error from failed.__cause__

    def _connected(self, what: str, call: Call, work: Callable[[Connection], T]) -> T:
        connection: Connection | None = None
        try:
            connection = self._account.connection(call)
            return work(connection)
        except (QsagaError, GivenUp):
            raise
        except Exception as error:
            trouble = recognise(error, call)
            ours = trouble.error(what, submission_begun=call.submission_begun)
            if trouble.kind is Kind.UNAUTHORISED:
                raise _CredentialsFailed(connection, ours) from error
            raise ours from error


class _CredentialsFailed(Exception):
    def __init__(self, connection: Connection | None, error: ProviderError) -> None:
        super().__init__(str(error))
        self.connection, self.error = connection, error


def _results(connection: Connection, job_id: str) -> str:
    try:
        return str(connection.client.job_results(job_id))
    except Exception as error:
        status = getattr(error, "status_code", None)
        if status in (404, 410):
            raise ResultUnusable(f"the result of job {job_id} is gone (status {status})") from error
        raise


def run_primitive(
    backend: Any, isa_qpy: bytes, layout: tuple[int, ...], spec: RunSpec, tags: tuple[str, ...]
) -> Any:
    """Submit by the client's primitives, in job mode; returns the client's job.

    ``SamplerV2`` and ``EstimatorV2`` are the ones whose work is done by the service, so that the
    result does not depend on the client that fetches it. They are deprecated in favour of
    others that do it in the client, but served.
    """
    circuit = load_circuit(isa_qpy)
    options: dict[str, Any] = {"environment": {"job_tags": list(tags)}}
    if spec.max_seconds is not None:
        options["max_execution_time"] = spec.max_seconds
    warnings.filterwarnings(
        "ignore", r"The (Sampler|Estimator)V2 class is deprecated", DeprecationWarning
    )
    if spec.verb == "sample":
        return SamplerV2(mode=backend, options=options).run([circuit], shots=spec.shots)
    if not spec.observables or len(layout) != len(next(iter(spec.observables[0]))):
        raise PermanentProviderError("observables and layout do not have as many qubits")
    observables = [
        SparsePauliOp.from_list(list(observable.items())).apply_layout(
            list(layout), circuit.num_qubits
        )
        for observable in spec.observables
    ]
    estimator = EstimatorV2(mode=backend, options=options)
    return estimator.run([(circuit, observables)], precision=spec.precision)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
