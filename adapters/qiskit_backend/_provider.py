"""The provider: each method of the port as one call that is bounded in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from adapters._threads import Threads
from adapters.compiling import Machine, compile_for, target_digest
from adapters.qiskit_backend._following import Follower
from adapters.qiskit_backend._journal import Entry, Journal
from adapters.qiskit_backend._processes import Processes
from adapters.qiskit_backend._recipes import prepare
from adapters.qiskit_backend._sending import Attempt, Sender
from adapters.qiskit_backend._vendor import Vendor, told
from qsaga.core.caching import Shelf
from qsaga.core.errors import (
    PermanentProviderError,
    QsagaError,
    TransientProviderError,
    Undecided,
)
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
    RunSpec,
    SessionSpec,
    SubmissionKey,
    Usage,
)

T = TypeVar("T")
CALLS = 16
"""Calls at a time."""
REFRESH = 300.0
"""Seconds for which the vendor's backend objects, and so their calibrations, are trusted."""

_living: dict[Path, dict[str, Any]] = {}
"""Jobs that live in this process, by journal and id: they outlive the object that sent them."""


class BackendV2Provider:
    """Any vendor of a Qiskit ``BackendV2`` (implements ``QuantumProvider``).

    ``BackendV2`` knows neither tags nor a list of jobs, so a journal in ``folder`` does. A key
    whose submission was begun and whose job is not known is never sent again: ``submit`` raises
    Undecided, unless the vendor is idempotent, or local and the process is gone that sent it.
    ``max_seconds`` of a run spec is left to ``Vendor.run_options``. Times of jobs are those at
    which this side learnt of them.

    Args:
        name: of the provider.
        backends: gives the backends, each with a name of its own; called in a thread when they
            are first needed, and again every ``REFRESH`` seconds.
        folder: of the journal, on a disk of this machine; shared by the processes of a
            deployment, and kept as long as its jobs matter.
        vendor: what there is beside ``BackendV2``.
        seconds: bound of every call.
    """

    def __init__(
        self,
        name: str,
        backends: Callable[[], Sequence[Any]],
        folder: Path,
        vendor: Vendor | None = None,
        seconds: float = 30.0,
    ) -> None:
        self.name = name
        self._vendor = vendor = vendor or Vendor()
        self.capabilities = Capabilities(
            idempotent=vendor.idempotent, searchable=vendor.local, found_within=seconds
        )
        self._seconds = seconds
        self._fleet = _Fleet(name, backends)
        folder = folder.expanduser().resolve()
        self._journal = Journal(folder / "journal.db")
        processes = Processes(folder)
        jobs = _living.setdefault(folder, {}) if vendor.local else {}
        self._sender = Sender(self._journal, processes, vendor)
        self._follower = Follower(self._journal, processes, vendor, jobs)
        self._threads = Threads(CALLS, f"{name}-call")

    async def health(self) -> Health:
        """Whether journal, backends and, where it can be asked, the vendor answer."""
        began = time.monotonic()

        def work() -> bool | None:
            self._journal.look()
            for backend in self._fleet.all():
                if self._vendor.probe is not None:
                    self._vendor.probe(backend)
            return None if self._vendor.probe is None else True

        try:
            authorised = await self._call("health", work)
        except PermanentProviderError as error:
            reached, authorised, detail = True, False, str(error)
        except QsagaError as error:
            reached, authorised, detail = False, None, str(error)
        else:
            reached, detail = True, ""
        return Health(
            reachable=reached,
            authorised=authorised,
            seconds=time.monotonic() - began,
            detail=detail,
        )

    async def backends(self) -> tuple[BackendFacts, ...]:
        """All backends; one whose vendor cannot be asked about it is not operational."""
        return await self._call(
            "backends", lambda: tuple(self._facts(backend) for backend in self._fleet.all())
        )

    def _facts(self, backend: Any) -> BackendFacts:
        operational, waiting, detail = True, None, ""
        try:
            if self._vendor.probe is not None:
                operational, waiting = self._vendor.probe(backend)
        except Exception as error:  # noqa: BLE001 - the other backends are still to be told of
            operational, detail = False, told("probe", error)
        return BackendFacts(
            name=backend.name,
            provider=self.name,
            qubits=backend.target.num_qubits or 0,
            operational=operational,
            queue_length=waiting,
            calibration_id=_calibration(backend.target),
            detail=detail,
        )

    async def target(self, backend: str) -> CompileTarget:
        """The backend's ``Target``. Raises PermanentProviderError for an unknown backend."""

        def work() -> CompileTarget:
            target = self._fleet.get(backend).target
            qubits = target.num_qubits or 0
            joined = target.build_coupling_map()
            pairs = None if joined is None else {frozenset(edge) for edge in joined.get_edges()}
            return CompileTarget(
                backend=backend,
                qubits=qubits,
                operations=tuple(sorted(target.operation_names)),
                couplings=qubits * (qubits - 1) // 2 if pairs is None else len(pairs),
                calibration_id=_calibration(target),
            )

        return await self._call("target", work)

    async def compile(
        self, qpy: bytes, backend: str, seed: int, spec: RunSpec, shelf: Shelf | None = None
    ) -> Compiled:
        """Transpile with a preset pass manager.

        Raises CompileError, PermanentProviderError for an unknown backend.
        """

        def work() -> Compiled:
            target = self._fleet.get(backend).target
            machine = Machine(backend, target, _calibration(target))
            return compile_for(machine, qpy, seed, spec, shelf=shelf)

        return await self._call("compile", work)

    async def find(self, tag: str) -> tuple[RemoteJob, ...]:
        """The jobs that the journal has under the tag, oldest first.

        One about which the vendor cannot be asked now is told of as it stood last.
        """
        return await self._looked("find", lambda: self._journal.under(tag))

    async def submit(
        self,
        isa_qpy: bytes,
        layout: tuple[int, ...],
        backend: str,
        spec: RunSpec,
        key: SubmissionKey,
        session: str | None = None,
    ) -> RemoteJob:
        """Send one job; a key that has a job already gets that one.

        Raises:
            Undecided: this submission, or an earlier one under the key, may have been accepted.
            TransientProviderError: surely not accepted; the same call may work later.
            PermanentProviderError: refused.
        """
        attempt = Attempt()

        def work() -> RemoteJob:
            if session is not None:
                raise self._no_sessions()
            if spec.mitigation is not None:
                raise PermanentProviderError(f"{self.name} takes no options of error mitigation")
            machine = self._fleet.get(backend)
            recipe, circuits = prepare(machine.target, isa_qpy, layout, spec)
            self._within_limits(machine, recipe.shots, len(circuits))
            remote, job = self._sender.send(attempt, machine, circuits, recipe, spec, key)
            if job is not None:
                self._follower.began(remote, job)
            return remote

        try:
            return await self._bounded("submit", work)
        except TimeoutError as error:
            told_so = f"{self.name}, submit: given up after {self._seconds:g} s"
            kind = Undecided if attempt.give_up() else TransientProviderError
            raise kind(told_so) from error
        except asyncio.CancelledError:
            attempt.give_up()
            raise

    def _within_limits(self, backend: Any, shots: int, circuits: int) -> None:
        most = self._vendor.max_shots
        if most is not None and shots > most:
            raise PermanentProviderError(f"{shots} shots are needed, {self.name} takes {most}")
        if backend.max_circuits is not None and circuits > backend.max_circuits:
            raise PermanentProviderError(
                f"{circuits} circuits are needed, {backend.name} takes {backend.max_circuits}"
            )

    async def status(self, provider_job_id: str) -> RemoteJob:
        """The job as it stands; not asked for again once it has ended and its charge is known."""
        return await self._call("status", lambda: self._status(provider_job_id))

    def _status(self, job_id: str) -> RemoteJob:
        return self._follower.look(self._follower.entry(job_id)).remote

    async def pending(self, deployment_tag: str) -> tuple[RemoteJob, ...]:
        """The deployment's jobs that have not ended: the vendor is asked about each of them."""
        jobs = await self._looked("pending", lambda: self._journal.open(deployment_tag))
        return tuple(job for job in jobs if not job.state.ended)

    async def outlook(self, provider_job_id: str) -> Outlook:
        """Unknown: ``BackendV2`` tells nothing of a queue. Raises NoSuchRemoteJob."""
        await self._call("outlook", lambda: self._follower.entry(provider_job_id))
        return Outlook()

    async def result(self, provider_job_id: str) -> CircuitResult:
        """Result of a completed job.

        Raises:
            RunFailed: the job failed or was cancelled.
            ResultUnusable: the result is gone, malformed, or has a wrong shape.
            TransientProviderError: the job has not ended, or the vendor cannot be asked.
        """
        return await self._call("result", lambda: self._follower.result(provider_job_id))

    async def usage(self) -> Usage:
        """Unknown: ``BackendV2`` has no account."""
        return Usage()

    async def cancel(self, provider_job_id: str) -> RemoteJob:
        """Ask for the job's end; how it stands then, where the vendor cannot cancel too."""
        return await self._call("cancel", lambda: self._follower.cancel(provider_job_id).remote)

    async def open_session(self, spec: SessionSpec) -> RemoteSession:
        """Raises PermanentProviderError: ``BackendV2`` has no sessions."""
        raise self._no_sessions()

    async def session(self, session_id: str) -> RemoteSession:
        """Raises PermanentProviderError: ``BackendV2`` has no sessions."""
        raise self._no_sessions()

    async def close_session(self, session_id: str) -> RemoteSession:
        """Raises PermanentProviderError: ``BackendV2`` has no sessions."""
        raise self._no_sessions()

    def _no_sessions(self) -> PermanentProviderError:
        return PermanentProviderError(f"{self.name} has no sessions")

    async def _looked(
        self, what: str, entries_of: Callable[[], Sequence[Entry]]
    ) -> tuple[RemoteJob, ...]:
        """How several jobs stand; those about which nothing can be learnt, how they stood."""
        ends = time.monotonic() + self._seconds
        entries = await self._call(what, entries_of)

        async def look(entry: Entry) -> RemoteJob:
            left = ends - time.monotonic()
            try:
                return (await self._call(what, lambda: self._follower.look(entry), left)).remote
            except QsagaError:
                return entry.remote

        return tuple(await asyncio.gather(*map(look, entries)))

    async def _call(self, what: str, work: Callable[[], T], seconds: float | None = None) -> T:
        try:
            return await self._bounded(what, work, seconds)
        except TimeoutError as error:
            raise TransientProviderError(
                f"{self.name}, {what}: given up after {self._seconds:g} s"
            ) from error

    async def _bounded(self, what: str, work: Callable[[], T], seconds: float | None = None) -> T:
        """Run ``work`` in a thread. Raises our errors, and TimeoutError when the time is over."""

        def translated() -> T:
            try:
                return work()
            except QsagaError:
                raise
            except Exception as error:
                raise self._vendor.kind(error)(told(f"{self.name}, {what}", error)) from error

        return await self._threads.run(translated, self._seconds if seconds is None else seconds)


class _Fleet:
    """The vendor's backend objects, asked for anew when they are old; thread-safe."""

    def __init__(self, provider: str, load: Callable[[], Sequence[Any]]) -> None:
        self._provider, self._load = provider, load
        self._loaded: tuple[float, dict[str, Any]] | None = None

    def all(self) -> tuple[Any, ...]:
        """Every backend."""
        return tuple(self._known().values())

    def get(self, name: str) -> Any:
        """The backend of that name. Raises PermanentProviderError if there is none."""
        known = self._known()
        if name not in known:
            names = ", ".join(sorted(known))
            raise PermanentProviderError(f"{self._provider} has no backend {name} (only {names})")
        return known[name]

    def _known(self) -> dict[str, Any]:
        loaded = self._loaded
        if loaded is None or time.monotonic() - loaded[0] > REFRESH:
            named = {backend.name: backend for backend in self._load()}
            if None in named:
                raise PermanentProviderError(f"{self._provider}: a backend has no name")
            # Two threads may load at once: both get the vendor's word of now.
            self._loaded = loaded = (time.monotonic(), named)
        return loaded[1]


def _calibration(target: Any) -> str:
    """Backends of this kind name no calibration: it is known by what it makes of the target."""
    return target_digest(target)[:16]
