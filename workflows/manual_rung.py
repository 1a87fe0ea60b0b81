"""The last rung: a person gives the answer, or accepts one that is known."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from qsaga.core.admission import Admission
    from qsaga.core.asking import refusal_text, review_request
    from qsaga.core.jobs import JobRequest
    from qsaga.core.rung_steps import CachedInput, CachedStep, TakeInput, TakeStep
    from qsaga.core.states import Layer, Rung
    from qsaga.core.steps import Encoded, Raw
    from workflows.approval import ApprovalDesk
    from workflows.layers import Allowance, LayerEnded, Stopwatch

LONGEST = 30.0
"""Seconds to look for an answer that may be accepted, or to take one, at most."""


class ManualRung:
    """Asks, waits, takes the answer.

    Args:
        request: the job's.
        watch: takes the time.
        time: what the job may use of it.
    """

    def __init__(self, request: JobRequest, watch: Stopwatch, time: Allowance) -> None:
        self._request, self._watch, self._time = request, watch, time
        self.desk = ApprovalDesk(request.workload)

    async def answer(
        self, admission: Admission, encoded: Encoded, seconds: float, known: Raw | None
    ) -> Raw:
        """What a person says within ``seconds``, who may accept ``known``. Raises LayerEnded."""
        terms = admission.decision.review
        if terms is None:
            raise LayerEnded(Layer.APPROVAL, "the policy asks nobody", timed_out=False)
        question = review_request(
            self._request, admission, terms, workflow.now(), seconds, _in_words(known)
        )
        record = await self.desk.wait(question, guarded=admission.guarded)
        waited = (workflow.now() - question.asked).total_seconds()
        self._watch.note(Layer.APPROVAL, waited, Rung.MANUAL)
        if record.outcome != "approved":
            raise LayerEnded(
                Layer.APPROVAL, refusal_text(record), timed_out=record.outcome == "expired"
            )
        said = record.counted[-1]
        if said.decision.answer is not None:
            return await self._watch.step(
                Layer.RETRIEVAL,
                # The answer has to be checked in the rest.
                min(LONGEST, self._time.left() / 2),
                TakeStep.take,
                TakeInput(
                    workload=self._request.workload,
                    model=encoded.model,
                    answer=said.decision.answer,
                    by=said.by,
                    why=said.decision.why,
                ),
                rung=Rung.MANUAL,
            )
        if known is None:
            raise AssertionError("a yes without an answer, and none was known")
        accepted = {"by": said.by, "why": said.decision.why, "accepted": True}
        return known.model_copy(
            update={"rung": Rung.MANUAL, "detail": {**known.detail, **accepted}}
        )

    async def known(self) -> Raw | None:
        """The newest answer to the same input, however old."""
        given = CachedInput(
            job_id=self._request.job_id, workload=self._request.workload, at=workflow.now()
        )
        try:
            return await self._watch.step(
                Layer.RETRIEVAL,
                # The rest is the person's.
                min(LONGEST, self._time.left() / 10),
                CachedStep.cached,
                given,
                rung=Rung.MANUAL,
            )
        except LayerEnded as end:
            workflow.logger.warning("no earlier answer for %s: %s", given.job_id, end.reason)
            return None


def _in_words(known: Raw | None) -> str:
    if known is None:
        return ""
    detail = known.detail
    return f"the answer of {detail['of_job']} ({detail['source']}, {detail['age_seconds']} s old)"
