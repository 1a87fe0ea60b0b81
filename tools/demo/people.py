"""The scenes about people and money: approved, rejected, refused for lack of budget."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from qsaga.client import JobHandle
from qsaga.core.approval import DECIDE
from qsaga.core.jobs import Budgets, Problem
from qsaga.core.ledger import Budget, Tenant
from qsaga.core.operations import GetStatement, PutTenant
from qsaga.core.results import OptimiseAnswer
from qsaga.core.states import JobState, Rung
from tools.demo.director import Director, Play, optimise, until

TENANT = "finance"
MONTH = Decimal(20)
"""What the tenant may spend a month, in USD: one of the jobs below and not two."""
BUDGETS = Budgets(quantum_seconds=8, solve=1)
"""At 1.60 USD a second: 12.80 USD at most."""

POLICY = f"""
[[approvals]]
name = "a person looks at every job above one dollar"
money_above = 1
tenants = ["{TENANT}"]
four_eyes = true
because = "it is expected to cost more than 1 USD"
"""


async def approved(director: Director, play: Play, problem: Problem) -> None:
    """Cost over the threshold: waits, is approved by a plain signal, completes on hardware."""
    money = Budget(limit=MONTH)
    await director.client.operate(PutTenant(tenant=Tenant(name=TENANT, money=money)), by="ops")
    handle = await _asks(director, play, problem, "6-approved")
    approval = (await handle.progress()).job.approval
    ceiling = approval.request.ceiling if approval else None
    most = f"{ceiling.money:.2f} {ceiling.currency}" if ceiling else "unknown"
    play.claim("the approver sees what it may cost", most == "12.80 USD", most)
    held = await _spent(director)
    play.claim("the money is held meanwhile", held[0] == Decimal("12.80"), held)
    await _signal(director, handle, {"verdict": "approve", "by": "bea", "why": "worth it"})
    await director.finish(play, handle)
    play.claim("completed", play.state == "completed", play.state)
    play.claim("answered by hardware", play.source == "hardware", play.source)
    answer = play.result.answer if play.result else None
    best = isinstance(answer, OptimiseAnswer) and answer.quality.objective == play.best_known
    play.claim("the optimum was found", best, play.answer)
    play.claim("approved by bea", _decided_by(play) == ["bea"], _decided_by(play))
    charges = play.account.charges if play.account else ()
    paid = sum((charge.cost.money for charge in charges), Decimal(0))
    books = await _spent(director)
    play.claim("the ledger says what was charged", books == (Decimal(0), paid) and paid > 0, books)
    _remote(play, created=1)


async def rejected(director: Director, play: Play, problem: Problem) -> None:
    """The submitter may not approve it himself; somebody else says no."""
    before = await _spent(director)
    handle = await _asks(director, play, problem, "7-rejected")
    await _signal(director, handle, {"verdict": "approve", "by": "ann", "why": "I want it"})

    async def weighed() -> bool:
        approval = (await handle.progress()).job.approval
        return approval is not None and len(approval.decided) == 1

    await until(weighed, "the first decision was weighed")
    await _signal(director, handle, {"verdict": "reject", "by": "bea", "why": "not this month"})
    await director.finish(play, handle)
    play.claim("rejected", play.state == "rejected", play.state)
    reason = play.result.unanswered.reason if play.result and play.result.unanswered else ""
    play.claim("the reason is bea's", reason == "rejected by bea: not this month", reason)
    record = play.result.approval if play.result else None
    refused = [decided.refused for decided in record.decided if decided.refused] if record else []
    play.claim("ann could not approve her own", any("four eyes" in why for why in refused), refused)
    after = await _spent(director)
    play.claim("nothing is held, nothing was spent", after == before, after)
    _remote(play, created=0)


async def refused(director: Director, play: Play, problem: Problem) -> None:
    """The month's budget does not suffice: refused, with what is left and when it renews."""
    budgets = BUDGETS.model_copy(update={"quantum_seconds": 12.0})
    request = optimise(
        problem,
        "8-refused",
        tenant=TENANT,
        route=Rung.HARDWARE,
        budgets=budgets,
        requested_by="ann",
    )
    before = await _spent(director)
    await director.play(play, request)
    play.claim("rejected", play.state == "rejected", play.state)
    reason = play.result.unanswered.reason if play.result and play.result.unanswered else ""
    left = f"{MONTH - before[1]:f}".rstrip("0").rstrip(".")
    play.claim("it says what is left", f"has {left} of 20 left this month" in reason, reason)
    play.claim("and when it renews", "renews" in reason, reason)
    after = await _spent(director)
    play.claim("nothing is held, nothing was spent", after == before, after)
    _remote(play, created=0)


async def _asks(director: Director, play: Play, problem: Problem, key: str) -> JobHandle:
    await director.queue(0, 1.0)
    request = optimise(
        problem, key, tenant=TENANT, route=Rung.HARDWARE, budgets=BUDGETS, requested_by="ann"
    )
    handle = await director.start(play, request)

    async def asked() -> bool:
        return (await handle.progress()).job.state is JobState.AWAITING_APPROVAL

    await until(asked, "a person is asked")
    play.mark("a person is asked")
    play.claim("nothing was sent before the decision", not await director.remote(play))
    return handle


async def _signal(director: Director, handle: JobHandle, decision: dict[str, str]) -> None:
    """As any Temporal client in any language would."""
    raw: Any = director.client.temporal.get_workflow_handle(handle.job_id)
    await raw.signal(DECIDE, decision)


async def _spent(director: Director) -> tuple[Decimal, Decimal]:
    """What the tenant has held and spent, in USD."""
    (statement,) = (await director.client.operate(GetStatement(tenant=TENANT), by="ops")).statements
    (money,) = [line for line in statement.lines if line.unit == "money"]
    return money.held, money.spent


def _decided_by(play: Play) -> list[str]:
    record = play.result.approval if play.result else None
    return [decided.by for decided in record.counted] if record else []


def _remote(play: Play, *, created: int) -> None:
    play.claim(f"remote jobs created: {created}", len(play.remote) == created, len(play.remote))
