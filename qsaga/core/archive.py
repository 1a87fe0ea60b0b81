"""What Temporal still holds of jobs, as a source for the job table and for its repair."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

from qsaga.core.contract import Contract
from qsaga.core.jobs import JobRequest
from qsaga.core.loops import LoopRequest, LoopResult
from qsaga.core.results import JobResult
from qsaga.core.runs import RunReport, RunRequest


class HeldJob(Contract):
    """A QuantumJob: ``result`` is None while it runs; ``account`` is its first run's id."""

    job_id: str
    account: str
    began: datetime
    request: JobRequest
    result: JobResult | None


class HeldLoop(Contract):
    """A HybridLoop: ``result`` is None while it runs."""

    loop_id: str
    began: datetime
    request: LoopRequest
    result: LoopResult | None


class HeldRun(Contract):
    """A HardwareRun: ``report`` is None while its account is open."""

    request: RunRequest
    report: RunReport | None


class Archive(Protocol):
    """Temporal's own memory, for as long as its retention lasts."""

    async def running(self, workflow_id: str) -> bool:
        """Whether a workflow of that id is at work."""

    async def known(self, workflow_id: str) -> bool:
        """Whether there is, or was within the retention, a workflow of that id."""

    async def completed(self, workflow_id: str) -> bool:
        """Whether a workflow of that id has ended with a result."""

    async def job(self, job_id: str) -> HeldJob | None:
        """A job that runs or has ended with a result.

        Raises QsagaError, OSError or ValueError where what it said cannot be read.
        """

    async def loop(self, loop_id: str) -> HeldLoop | None:
        """A loop that runs or has ended with a result. Raises as ``job`` does."""

    def jobs(self) -> AsyncIterator[HeldJob]:
        """All jobs that run or have ended with a result."""

    def runs(self) -> AsyncIterator[HeldRun]:
        """All hardware runs that run or have closed their account."""

    def loops(self) -> AsyncIterator[HeldLoop]:
        """All loops that run or have ended with a result."""

    async def forget(self, workflow_id: str, before: datetime, *, prefix: bool = False) -> bool:
        """Delete every closed run of a workflow, and its payloads kept beside Temporal.

        With ``prefix``, of all workflows whose id begins so.

        Payloads written or used after ``before`` stay, since another job may share them.
        Returns whether everything could be deleted.
        """
