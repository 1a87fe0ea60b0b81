"""The commands about submissions that only a person can decide."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from qsaga.cli.console import AsJson, By, TenantName, Why, operated, out, print_json, valid
from qsaga.cli.views import Row, print_to, rows
from qsaga.core.errors import InvalidRequest
from qsaga.core.operations import GetQuarantine, Resolve
from qsaga.core.submission import Quarantined
from qsaga.core.words import stamp

app = typer.Typer()


@app.command()
def quarantine(*, tenant: TenantName = None, by: By = None, json: AsJson = False) -> None:
    """List submissions that wait for a person, with what was seen of them."""
    report = operated(valid(GetQuarantine, {"tenant": tenant}), by)
    if json:
        print_json(report.quarantined)
    elif not report.quarantined:
        print("no submission waits for a person")
    else:
        print_to(out(), Group(*(_case(case) for case in report.quarantined)))


@app.command()
def resolve(
    submission: Annotated[str, typer.Argument(help="As 'qsaga quarantine' names it.")],
    *,
    why: Why,
    never_accepted: Annotated[
        bool, typer.Option("--never-accepted", help="The provider never had a job of it.")
    ] = False,
    job: Annotated[
        list[str] | None,
        typer.Option("--job", help="A remote job of it, to be ended and booked; repeatable."),
    ] = None,
    charged: Annotated[
        list[str] | None,
        typer.Option(
            "--charged", help="REMOTE_JOB=QUANTUM_SECONDS: it ended, and cost that; repeatable."
        ),
    ] = None,
    by: By = None,
) -> None:
    """Say what became of a submission; its account is closed by that. Nothing is sent again."""
    given = [never_accepted, bool(job), bool(charged)]
    if sum(given) != 1:
        raise InvalidRequest(
            "--never-accepted, --job, --charged",
            f"{sum(given)} of them are given",
            "exactly one of them",
        )
    word: dict[str, Any] = {
        "verdict": "never_accepted" if never_accepted else "jobs" if job else "charged",
        "jobs": job or [],
        "charges": [_charge(text) for text in charged or []],
        "why": why,
    }
    print(operated(valid(Resolve, {"run_id": submission, "resolution": word}), by).text)


def _charge(text: str) -> dict[str, str]:
    name, found, seconds = text.rpartition("=")
    if not found or not name:
        raise InvalidRequest(
            "--charged", f"{text!r} has no '='", "REMOTE_JOB=QUANTUM_SECONDS, such as d4f0=12.5"
        )
    return {"provider_job_id": name, "quantum_seconds": seconds}


def _case(case: Quarantined) -> RenderableType:
    intent = case.intent
    sent = f", last at {stamp(intent.last_sent_at)}" if intent.last_sent_at else ""
    pairs: list[Row] = [
        ("submission", Text(case.run_id, style="bold")),
        ("job", case.job_id),
        ("since", stamp(case.since)),
        ("reason", case.reason),
        ("sent", "without a reply" + sent if intent.last_sent_at else "nothing is without a reply"),
    ]
    for job in case.seen:
        charged = (
            "charge not told"
            if job.quantum_seconds is None
            else f"{job.quantum_seconds:g} quantum seconds"
        )
        pairs.append(("seen", f"{job.provider_job_id}: {job.state.value}, {charged} {job.reason}"))
    if case.resolution is not None:
        pairs.append(("said", f"{case.resolution.verdict} by {case.resolution.by}"))
    return Group(rows(pairs), Text())
