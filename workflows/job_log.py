"""What has happened to a job so far, and the result that it amounts to."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from qsaga.core.approval import ApprovalRecord
    from qsaga.core.contract import ArtefactRef
    from qsaga.core.facts import Decision
    from qsaga.core.jobs import JobRequest
    from qsaga.core.lineage import lineage_of
    from qsaga.core.outcome import answered_state, better, compare, unanswered_state
    from qsaga.core.results import (
        Attempt,
        Comparison,
        Compensation,
        Contender,
        Cost,
        JobResult,
        JobStatus,
        LayerTiming,
        OptimiseAnswer,
        Provenance,
        Transition,
        Unanswered,
    )
    from qsaga.core.runs import RunReport
    from qsaga.core.states import (
        CIRCUIT_RUNGS,
        HARDWARE_RUNGS,
        HARDWARE_STATES,
        JobState,
        Rung,
        may_follow,
    )
    from qsaga.core.steps import Encoded, Raw, Verified
    from workflows.layers import LayerEnded
    from workflows.published import publish


class JobLog:
    """Collects transitions, attempts, costs and compensations of one job."""

    def __init__(self, request: JobRequest, job_id: str, at: datetime) -> None:
        self.request, self.job_id = request, job_id
        self.payload_hash = request.payload_hash()
        self.state = JobState.RECEIVED
        self.transitions = [Transition(state=self.state, at=at)]
        self.decision: Decision | None = None
        self.rung: Rung | None = None
        self.runs: list[str] = []
        self._told_runs = 0
        self.attempts: list[Attempt] = []
        self.timings: list[LayerTiming] = []
        self.costs: list[Cost] = []
        self.open_accounts: list[str] = []
        self.best: tuple[Raw, Verified] | None = None
        self.beside: list[tuple[Raw, Verified]] = []
        self.encoded: Encoded | None = None
        self.last_end: LayerEnded | None = None
        self.submitter: str | None = request.requested_by
        self.raws: list[Raw] = []
        self.stored: list[ArtefactRef] = []

    def enter(self, state: JobState, at: datetime) -> None:
        """Go to a state; one that the lifecycle does not allow is a fault of ours."""
        if state is self.state:
            return
        if not may_follow(self.state, state):
            raise AssertionError(f"a job cannot go from {self.state} to {state}")
        self.state = state
        self.transitions.append(Transition(state=state, at=at))

    def publish(self, rung: Rung | None) -> None:
        """Make the job found by where it stands."""
        publish(self.request.tenant, self.state, rung.value if rung else "none")

    @property
    def run_id(self) -> str | None:
        """The latest run that was begun."""
        return self.runs[-1] if self.runs else None

    def answered(self, raw: Raw, verified: Verified) -> None:
        """A rung answered and its answer stood the check; the best one is served."""
        answer = verified.answer
        objective = answer.quality.objective if isinstance(answer, OptimiseAnswer) else None
        self.beside.append((raw, verified))
        if self.best is None or better(answer, self.best[1].answer):
            self.best = (raw, verified)
        self._attempted(
            Attempt(rung=raw.rung, outcome="answered", run_id=raw.run_id, objective=objective)
        )

    def not_topped_up(self, rung: Rung, end: LayerEnded) -> None:
        """More shots could not be bought: the answer stands as it is."""
        last = self.last_end
        self.rung_ended(rung, end)
        self.last_end = last

    def topped_up(self, raw: Raw, verified: Verified) -> None:
        """More shots were bought for the answer."""
        self.best = self.beside[-1] = (raw, verified)
        self._told_runs = len(self.runs)

    def rung_abandoned(self, rung: Rung, reason: str) -> None:
        """A rung was left while it worked."""
        self._attempted(
            Attempt(rung=rung, outcome="abandoned", reason=reason, run_id=self._run_of(rung))
        )

    def _run_of(self, rung: Rung) -> str | None:
        """The run of an attempt that ends now; None if it ends before its run began."""
        begun = rung in HARDWARE_RUNGS and len(self.runs) > self._told_runs
        return self.run_id if begun else None

    def _attempted(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        if attempt.rung in HARDWARE_RUNGS:
            self._told_runs = len(self.runs)

    def rung_ended(self, rung: Rung, end: LayerEnded) -> None:
        """A rung did not answer."""
        self.last_end = end
        self._attempted(
            Attempt(
                rung=rung,
                outcome="timed_out" if end.timed_out else "failed",
                reason=end.reason,
                layer=end.layer,
                run_id=self._run_of(rung),
            )
        )

    def heard(self, report: RunReport) -> None:
        """A HardwareRun told how it went."""
        for step in report.transitions:
            # A run never ends the job: where signals are not sealed anybody may say that it does.
            if may_follow(self.state, step.state) and step.state in HARDWARE_STATES:
                self.enter(step.state, step.at)
        self.timings.extend(report.timings)
        self.stored.extend(report.artefacts)
        if report.account_open:
            self.open_accounts.append(report.run_id)

    def closed(self, result: JobResult) -> JobResult:
        """This key's job ended long ago, as its record says; that is how it ends now."""
        self.state, self.attempts = result.state, list(result.attempts)
        self.transitions = list(result.transitions)
        return result

    def artefacts(self) -> tuple[ArtefactRef, ...]:
        """All that the job stored, each once."""
        known = self.encoded
        encoded = (known.model, known.circuit, known.reduction) if known else ()
        raws = [raw.result for raw in self.raws]
        return tuple(dict.fromkeys(ref for ref in (*encoded, *raws, *self.stored) if ref))

    def status(self, approval: ApprovalRecord | None) -> JobStatus:
        """For the query."""
        return JobStatus(
            job_id=self.job_id,
            payload_hash=self.payload_hash,
            state=self.state,
            rung=self.rung,
            run_id=self.run_id,
            decision=self.decision,
            transitions=tuple(self.transitions),
            attempts=tuple(self.attempts),
            approval=approval,
        )

    def result(
        self,
        at: datetime,
        *,
        cancelled: bool,
        refused: bool,
        closed_accounts: set[str],
        hardware: list[Cost],
        approval: ApprovalRecord | None,
        review: ApprovalRecord | None,
    ) -> JobResult:
        """The result of a job that ends now."""
        why = None
        if self.best and self.decision and not cancelled:
            final = answered_state(self.decision, {raw.rung for raw, _ in self.beside})
        else:
            end = self.last_end
            why = Unanswered(
                reason="cancelled by the caller" if cancelled else str(end or "no rung answered"),
                layer=end.layer if end and not cancelled else None,
            )
            final = unanswered_state(
                why, timed_out=bool(end and end.timed_out), cancelled=cancelled, refused=refused
            )
        self.enter(final, at)
        served = self.best is not None and why is None
        return JobResult(
            job_id=self.job_id,
            tenant=self.request.tenant,
            key=self.request.key,
            payload_hash=self.payload_hash,
            state=final,
            answer=self.best[1].answer if self.best and served else None,
            unanswered=why,
            provenance=self._provenance() if served else None,
            decision=self.decision,
            attempts=tuple(self.attempts),
            runs=tuple(self.runs),
            comparison=self._comparison() if served else None,
            compensations=tuple(
                self._compensation(run, closed_accounts) for run in self.open_accounts
            ),
            transitions=tuple(self.transitions),
            timings=tuple(self.timings),
            cost=self._cost([*hardware, *self.costs], closed_accounts),
            submitter=self.submitter,
            approval=approval,
            review=review,
            lineage=lineage_of(
                self.request,
                decision=self.decision,
                encoded=self.encoded,
                raw=self.best[0] if self.best and served else None,
                verified=self.best[1] if self.best and served else None,
                raws=self.raws,
            ),
        )

    def _comparison(self) -> Comparison | None:
        if self.best is None or not isinstance(self.best[1].answer, OptimiseAnswer):
            return None
        found = [
            Contender(
                rung=raw.rung,
                provider=raw.provider,
                backend=raw.backend,
                run_id=raw.run_id,
                objective=verified.answer.quality.objective,
                confidence=verified.answer.quality.confidence,
                result=raw.result,
            )
            for raw, verified in self.beside
            if isinstance(verified.answer, OptimiseAnswer)
        ]
        return compare(found, self.best[1].answer.quality.sense, self.best[0].rung)

    def _compensation(self, run_id: str, closed: set[str]) -> Compensation:
        return Compensation(
            action="cancel the remote job and settle its account",
            target=run_id,
            state="done" if run_id in closed else "in_progress",
        )

    def _cost(self, costs: list[Cost], closed: set[str]) -> Cost:
        return Cost(
            quantum_seconds=sum(c.quantum_seconds for c in costs),
            money=sum((c.money for c in costs), Decimal(0)),
            currency=costs[0].currency if costs else self.request.budgets.currency,
            classical_seconds=round(sum(c.classical_seconds for c in costs), 3),
            settled=all(c.settled for c in costs) and closed.issuperset(self.open_accounts),
        )

    def _provenance(self) -> Provenance | None:
        if self.best is None:
            return None
        raw, verified = self.best
        kept = {
            "model": self.encoded.model if self.encoded else None,
            "circuit": self.encoded.circuit if self.encoded else None,
            "isa_circuit": raw.isa_circuit,
            "result": raw.result,
            "reduction": raw.reduction,
        }
        spec = self.encoded.spec if self.encoded else None
        detail = {"polished": verified.polished, **raw.detail}
        if verified.mitigation is not None:
            detail["mitigation"] = verified.mitigation.model_dump(mode="json")
        return Provenance(
            source=raw.rung,
            provider=raw.provider,
            backend=raw.backend,
            run_id=raw.run_id,
            provider_job_ids=raw.provider_job_ids,
            shots=spec.shots if spec and raw.rung in CIRCUIT_RUNGS else None,
            circuit=raw.circuit,
            seed=self.request.seed,
            detail=detail,
            software=verified.software,
            artefacts={name: ref for name, ref in kept.items() if ref is not None},
        )
