"""The commands about what is kept: history, audit, deletion, repair."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from qsaga.cli.console import (
    LONG,
    AsJson,
    By,
    Job,
    TenantName,
    Why,
    moment,
    operated,
    out,
    print_json,
    valid,
)
from qsaga.cli.requests import plain, split_job
from qsaga.cli.views import print_to
from qsaga.core.errors import InvalidRequest
from qsaga.core.facts import VERBS
from qsaga.core.lineage import Check, Reproduction
from qsaga.core.operations import (
    Forget,
    GetAudit,
    GetHistory,
    OperationReport,
    Rebuild,
    Reproduce,
    Retain,
)
from qsaga.core.records import AuditRow, HistoryQuery, HistoryRow
from qsaga.core.states import JobState, Rung
from qsaga.core.words import duration, money

app = typer.Typer()
KEPT = 24
"""Characters of a hash that are shown."""

Since = Annotated[str | None, typer.Option("--since", help="2026-11-01, or 7d, 12h, 30m ago.")]
Limit = Annotated[int, typer.Option("--limit", help="The most to list.")]


@app.command()
def history(
    *,
    tenant: TenantName = None,
    state: Annotated[str | None, typer.Option("--state", help="How they ended.")] = None,
    verb: Annotated[
        str | None, typer.Option("--verb", help="optimise, sample or estimate.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="What answered: hardware, simulator, annealing.")
    ] = None,
    backend: Annotated[str | None, typer.Option("--backend", help="That answered.")] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="As the request named it.")
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", help="As the request named it.")
    ] = None,
    since: Since = None,
    until: Annotated[str | None, typer.Option("--until", help="As --since.")] = None,
    limit: Limit = 50,
    by: By = None,
    json: AsJson = False,
) -> None:
    """List jobs, newest first, also those of long ago."""
    query = valid(
        HistoryQuery,
        {
            "tenant": tenant,
            "state": _one_of(state, "state", [each.value for each in JobState]),
            "verb": _one_of(verb, "verb", list(VERBS)),
            "source": _one_of(source, "source", [each.value for each in Rung]),
            "backend": backend,
            "experiment": experiment,
            "template": template,
            "since": moment(since, "since"),
            "until": moment(until, "until"),
            "limit": limit,
        },
    )
    report = operated(GetHistory(query=query), by)
    if json:
        print_json(report.history)
    else:
        print_to(out(), _history(report.history))


@app.command()
def audit(
    *,
    tenant: TenantName = None,
    job: Annotated[str | None, typer.Option("--job", help="About this job only.")] = None,
    since: Since = None,
    limit: Limit = 100,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Show who did what, and whether the log is whole."""
    asked = valid(
        GetAudit,
        {
            "tenant": tenant,
            "subject": split_job(job, tenant) if job else None,
            "since": moment(since, "since"),
            "limit": limit,
        },
    )
    report = operated(asked, by)
    if json:
        print_json(report.audit)
        return
    print_to(out(), _audit(report.audit))
    print(report.text)


@app.command()
def forget(
    job: Job,
    *,
    why: Why,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Delete what a job, or a loop and its jobs, said and answered; charges and keys stay."""
    job_id = split_job(job)
    if not why.strip():
        raise InvalidRequest("why", "empty", "a reason of 1 to 2000 characters")
    wanted = valid(Forget, {"job_id": job_id, "why": why})
    if not yes:
        typer.confirm(f"Delete what {job_id} said and answered for good?", abort=True, err=True)
    _done(operated(wanted, by), json=json)


@app.command()
def retain(
    *,
    tenant: TenantName = None,
    days: Annotated[
        int | None, typer.Option("--days", help="In place of each tenant's own retention.")
    ] = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Forget the jobs that are older than they may be kept."""
    _done(operated(valid(Retain, {"tenant": tenant, "days": days}), by, LONG), json=json)


@app.command()
def rebuild(*, by: By = None, json: AsJson = False) -> None:
    """Fill gaps in the job table from what Temporal holds."""
    _done(operated(Rebuild(), by, LONG), json=json)


@app.command()
def reproduce(job: Job, *, by: By = None, json: AsJson = False) -> None:
    """Make a job's circuit again and, on a simulator, its counts; exit code 1 if they differ."""
    report = operated(Reproduce(job_id=split_job(job)), by, LONG)
    again = report.reproduction
    if again is None:
        raise AssertionError("a reproduction without its checks")
    if json:
        print_json(again)
    else:
        print_to(out(), _reproduction(again))
        out().print(report.text, style="bold")
    if not again.same:
        raise typer.Exit(1)


def _reproduction(again: Reproduction) -> Table:
    heads = ("", "what", "recorded", "again", "note")
    marks = {True: "same", False: "differs", None: "cannot tell"}
    checks = (*again.checks, *again.conditions)
    return _table(
        heads,
        (
            (marks[one.same], one.what, _short(one.recorded), _again(one), one.note)
            for one in checks
        ),
    )


def _short(text: str | None) -> str:
    """The beginning of a hash or of JSON: ``--json`` has all of it."""
    return text[:KEPT] + ("…" if len(text) > KEPT else "") if text else ""


def _again(one: Check) -> str:
    return "" if one.same else _short(one.again)


def _one_of(word: str | None, field: str, allowed: list[str]) -> str | None:
    if word is not None and word not in allowed:
        raise InvalidRequest(field, f"{word!r} is not known", ", ".join(allowed))
    return word


def _done(report: OperationReport, *, json: bool) -> None:
    if json:
        print(plain({"text": report.text, "forgotten": list(report.forgotten)}))
    else:
        print(report.text)


def _history(found: tuple[HistoryRow, ...]) -> Table:
    heads = ("job", "asked", "state", "verb", "answered by", "took", "cost", "by")
    return _table(
        heads,
        (
            (
                row.job_id,
                f"{row.opened:%Y-%m-%d %H:%M:%S}",
                row.state or "at work",
                row.verb,
                " ".join(filter(None, (row.source, row.backend))),
                None if row.seconds is None else duration(row.seconds),
                f"{row.quantum_seconds:g} quantum s, {money(Decimal(row.money), row.currency)}",
                row.submitter,
            )
            for row in found
        ),
    )


def _audit(found: tuple[AuditRow, ...]) -> Table:
    return _table(
        ("no.", "at", "who", "did", "to", "why"),
        (
            (
                str(row.number),
                f"{row.entry.at:%Y-%m-%d %H:%M:%S}",
                row.entry.who + ("" if row.entry.verified else " (unverified)"),
                row.entry.action,
                row.entry.subject or row.entry.tenant,
                row.entry.reason,
            )
            for row in found
        ),
    )


def _table(heads: tuple[str, ...], lines: Iterable[tuple[str | None, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in heads:
        table.add_column(head, overflow="fold")
    for line in lines:
        # What people wrote is no markup.
        table.add_row(*(Text(word or "-") for word in line))
    return table
