"""The commands of people who are asked: what waits, yes, no."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.text import Text

from qsaga.cli.console import (
    AsJson,
    By,
    Job,
    TenantName,
    Why,
    amount,
    out,
    print_json,
    settings,
    with_client,
)
from qsaga.cli.requests import split_job
from qsaga.cli.views import Row, print_to, rows
from qsaga.client import QsagaClient, tenant_name
from qsaga.core.approval import ApprovalRecord, ApprovalRequest, Decided, Verdict
from qsaga.core.errors import InvalidRequest, QsagaError
from qsaga.core.supplied import SuppliedAnswer
from qsaga.core.validation import invalid_request
from qsaga.core.words import duration, money, number
from qsaga.deciding import decision_of

app = typer.Typer()


@app.command()
def inbox(*, tenant: TenantName = None, json: AsJson = False) -> None:
    """List what waits for a person, with all it takes to decide."""
    whose = None if tenant is None else tenant_name(tenant)
    waiting = with_client(lambda client: client.inbox(whose))
    if json:
        print_json(waiting)
    elif not waiting:
        print("nothing waits for a person")
    else:
        now = datetime.now(UTC)
        print_to(out(), Group(*(_waiting(record, now) for record in waiting)))


@app.command()
def approve(
    job: Job,
    *,
    why: Why,
    money: Annotated[
        str | None, typer.Option("--money", help="The most it may cost, below what was asked.")
    ] = None,
    quantum_seconds: Annotated[
        float | None,
        typer.Option("--quantum-seconds", help="The most it may be charged, below what was asked."),
    ] = None,
    answer: Annotated[
        Path | None,
        typer.Option(
            "--answer", help="JSON file with the answer, where the answer itself is asked for."
        ),
    ] = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Say yes to a job or a loop that waits for a person, or answer a job."""
    decision = decision_of(
        Verdict.APPROVE,
        why,
        settings=settings(),
        by=by,
        money=amount(money, "money"),
        quantum_seconds=quantum_seconds,
        answer=_answer(answer),
    )

    async def work(client: QsagaClient) -> tuple[Decided, ApprovalRecord | None]:
        handle = client.asked(split_job(job))
        decided = await handle.decide(decision)
        # It counts, whatever becomes of the question how many more are asked.
        with suppress(QsagaError):
            return decided, await handle.approval()
        return decided, None

    decided, record = with_client(work)
    if json:
        print_json(decided)
        return
    missing = 0
    if record is not None and record.outcome == "waiting":
        missing = record.request.terms.approvals - record.approvals
    more = f"; {number(missing, 'approval', 'more')} must follow" if missing > 0 else ""
    print(f"{split_job(job)} approved by {decided.by}{more}")


@app.command()
def reject(job: Job, *, why: Why, by: By = None, json: AsJson = False) -> None:
    """Say no to a job or a loop that waits for a person: it ends as rejected."""
    decision = decision_of(Verdict.REJECT, why, settings=settings(), by=by)
    decided = with_client(lambda client: client.asked(split_job(job)).decide(decision))
    if json:
        print_json(decided)
    else:
        print(f"{split_job(job)} rejected by {decided.by}")


def _answer(path: Path | None) -> SuppliedAnswer | None:
    if path is None:
        return None
    try:
        return SuppliedAnswer.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidRequest("--answer", f"{path}: {error.strerror}", "a JSON file") from error
    except ValidationError as error:
        raise invalid_request(error) from error


def _waiting(record: ApprovalRecord, now: datetime) -> RenderableType:
    request, terms = record.request, record.request.terms
    left = (request.expires - now).total_seconds()
    pairs: list[Row] = [
        ("job", Text(request.job_id, style="bold")),
        ("plan", request.plan),
        *(
            [("wanted", f"the answer, {request.answers}")]
            if request.answers
            else [("cost", _cost(request)), ("queue", _queue(request))]
        ),
        ("asked", f"{terms.rule}: {terms.because}"),
        ("submitted by", request.submitter or "nobody who gave a name"),
        ("job is of", f"{request.environment}, data {request.sensitivity}"),
        ("expires in", duration(left) if left > 0 else "no time: it lapses now"),
        ("approvals", _approvals(record)),
    ]
    pairs += [("instead", f"{other.rung}: {other.text}") for other in request.alternatives]
    if request.left:
        pairs.append(("budget", request.left))
    return Group(rows(pairs), Text(""))


def _approvals(record: ApprovalRecord) -> str:
    """How many have said yes, who may, and what did not count."""
    terms = record.request.terms
    asked = (*terms.approvers, *(terms.escalate_to if record.escalated else ()))
    words = [f"{record.approvals} of {terms.approvals}"]
    words += [f"{one.by}: {one.decision.why}" for one in record.counted]
    if record.outcome == "waiting":
        words.append("may decide: " + (", ".join(asked) or "every approver of the tenant"))
        if terms.four_eyes:
            words.append("not the submitter")
    refused = len(record.decided) - len(record.counted)
    if refused:
        words.append(f"{number(refused, 'decision')} did not count")
    return "; ".join(words)


def _cost(request: ApprovalRequest) -> str:
    if request.expected_money is None or request.ceiling is None:
        return "nothing: no hardware is planned"
    ceiling = request.ceiling
    return (
        f"{money(request.expected_money, ceiling.currency)} and "
        f"{request.expected_quantum_seconds or 0:g} quantum seconds expected, at most "
        f"{money(ceiling.money, ceiling.currency)} and {ceiling.quantum_seconds:g}"
    )


def _queue(request: ApprovalRequest) -> str:
    if request.expected_queue_seconds is None:
        return "unknown" if request.ceiling is not None else "none"
    return f"{duration(request.expected_queue_seconds)} expected"
