"""The commands about jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from qsaga.cli import details, views
from qsaga.cli.console import AsJson, Job, err, out, print_json, settings, with_client
from qsaga.cli.doctor import examine
from qsaga.cli.loops import cancel_loop, show_loop, watch_loop
from qsaga.cli.requests import Options, plain, request_from, split_job
from qsaga.client import JobHandle, QsagaClient
from qsaga.core.errors import InvalidRequest, NoSuchJob, PolicyRefused
from qsaga.core.jobs import Optimise
from qsaga.core.loop_rules import is_loop
from qsaga.core.records import JobRecord
from qsaga.core.results import JobResult, OptimiseAnswer
from qsaga.core.runs import JobAccount, Progress
from qsaga.core.states import JobState
from qsaga.core.story import account_of, story
from qsaga.problems.drawing import picture as draw_picture

app = typer.Typer()

LOOK = 0.5
"""Seconds that a job gets to turn out to have ended."""

File = Annotated[
    Path,
    typer.Argument(
        help="A job request (JSON or TOML), or a problem file of a format in qsaga problems."
    ),
]


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all options of ``Options``, handed over as one object."""
    import inspect

    text: Any = str | None
    described: dict[str, tuple[Any, str, str]] = {
        "problem": (text, "--problem", "What a problem file holds: see qsaga problems."),
        "format": (text, "--format", "Its format: see qsaga problems show."),
        "key": (text, "--key", "Idempotency key; made of the content if left out."),
        "tenant": (text, "--tenant", "On whose account."),
        "route": (text, "--route", "Try this first: hardware, simulator, annealing."),
        "backend": (text, "--backend", "A backend by name."),
        "seed": (int | None, "--seed", "Of everything random on our side."),
        "shots": (int | None, "--shots", "Shots of a circuit."),
        "depth": (int | None, "--depth", "Layers of QAOA."),
        "angles": (text, "--angles", "Of QAOA: auto, tuned, transferred, fixed, ramp."),
        "deadline": (text, "--deadline", "Until the answer: 90, 90s, 15m, 2h."),
        "queue": (text, "--queue", "Waiting at the provider."),
        "execution": (text, "--execution", "Running at the provider."),
        "solve": (text, "--solve", "For a classical solver."),
        "simulate": (text, "--simulate", "For a simulator."),
        "quantum_seconds": (float | None, "--quantum-seconds", "That may be charged."),
        "money": (text, "--money", "That the job may cost."),
        "currency": (text, "--currency", "Of --money: USD, EUR, …"),
        "approval": (text, "--approval", "Waiting for a person."),
        "sensitivity": (
            text,
            "--sensitivity",
            "Of the data: public, internal, confidential, restricted.",
        ),
        "region": (
            list[str] | None,
            "--region",
            "Where the circuit may run; several times, or with commas.",
        ),
        "environment": (text, "--environment", "test or production."),
        "template": (text, "--template", "The recurring kind of job that it is one of."),
        "experiment": (text, "--experiment", "What to find it under in the history."),
        "dataset": (text, "--dataset", "Version of the data that the input was made from."),
        "by": (text, "--by", "Who asks, where no token says it."),
    }

    @wraps(command)
    def with_options(*args: Any, **kwargs: Any) -> None:
        chosen = {name: kwargs.pop(name) for name in described}
        command(*args, options=Options(**chosen), **kwargs)

    old = inspect.signature(command, eval_str=True)
    own = [p for p in old.parameters.values() if p.name != "options"]
    more = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind, typer.Option(flag, help=words)],
        )
        for name, (kind, flag, words) in described.items()
    ]
    with_options.__signature__ = old.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in [*own, *more]}
    return with_options


@app.command()
@_shared
def plan(file: File, *, json: AsJson = False, options: Options) -> None:
    """Say where a job would go, why, and what that is expected to take. Nothing is run."""
    request = request_from(file, options)
    decision = with_client(lambda client: client.plan(request))
    if json:
        print_json(decision)
    else:
        views.print_to(out(), views.decision_view(decision))


@app.command("run")
@_shared
def run_job(
    file: File,
    *,
    json: AsJson = False,
    detach: Annotated[bool, typer.Option(help="Start it and do not wait.")] = False,
    options: Options,
) -> None:
    """Start a job, or find it if the same was started before, and print its result."""
    request = request_from(file, options)

    async def work(client: QsagaClient) -> int:
        handle = await client.start(request)
        if not detach:
            return await _follow(handle, json)
        print(plain({"job_id": handle.job_id}) if json else handle.job_id)
        if not json:
            err().print(f"follow it with: qsaga watch {handle.job_id}", highlight=False)
        return 0

    raise typer.Exit(with_client(work))


@app.command()
def watch(job: Job, *, json: AsJson = False) -> None:
    """Show each change of a job or loop until it ends, then its result."""
    if is_loop(job):
        raise typer.Exit(watch_loop(job, json=json))
    raise typer.Exit(with_client(lambda client: _follow(client.job(split_job(job)), json)))


@app.command()
def show(
    job: Job,
    *,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the solution: .svg, .png or .pdf.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Show all that is known of a job or loop, of a job also what is long ended."""
    if is_loop(job):
        show_loop(job, json=json)
        return
    told = with_client(lambda client: _known(client.job(split_job(job))))
    if picture is not None:
        _draw(with_client(lambda client: client.job(split_job(job)).record()), picture)
    if json:
        print_json(told)
        return
    match told:
        case JobAccount():
            views.print_to(out(), details.account_view(told))
        case JobRecord():
            views.print_to(out(), details.record_view(told))
        case Progress():
            began = told.job.transitions[0].at if told.job.transitions else None
            line = f"{told.job.job_id}  {views.progress_line(told, began)}"
            out().print(line, highlight=False, markup=False, soft_wrap=True)
            views.print_to(out(), views.progress_view(told))


@app.command()
def explain(job: Job, *, json: AsJson = False) -> None:
    """Tell in words what happened to a job, and why."""
    told = with_client(lambda client: _known(client.job(split_job(job))))
    sentences = story(told)
    if json:
        print(plain({"job_id": split_job(job), "story": list(sentences)}))
        return
    for sentence in sentences:
        out().print(sentence, highlight=False, markup=False, soft_wrap=not out().is_terminal)


@app.command()
def cancel(job: Job) -> None:
    """Ask a job or loop to end. What it holds at a provider is cancelled and accounted for."""
    if is_loop(job):
        cancel_loop(job)
        return

    async def work(client: QsagaClient) -> None:
        handle = client.job(split_job(job))
        try:
            result = await handle.result(LOOK)
        except TimeoutError:
            await handle.cancel()
            print(f"{handle.job_id} was asked to end")
        else:
            print(f"{handle.job_id} had ended already: {result.state.value}")

    with_client(work)


@app.command()
def doctor() -> None:
    """Show the settings, secrets masked, and whether Temporal and a worker can be reached."""
    raise typer.Exit(asyncio.run(examine(settings(), out())))


# --- around the commands -----------------------------------------------------------------------


async def _known(handle: JobHandle) -> JobAccount | Progress | JobRecord:
    """Whatever there is: a job that has ended, one at work, or what the records keep of one."""
    try:
        await handle.result(LOOK)
    except TimeoutError:
        progress = await handle.progress()
        return progress.model_copy(update={"retries": await handle.retries()})
    except NoSuchJob:
        record = await handle.record()
        return account_of(record) or record
    return await handle.account()


def _draw(record: JobRecord, path: Path) -> None:
    answer = record.result.answer if record.result else None
    workload = record.request.workload if record.request else None
    if not isinstance(answer, OptimiseAnswer) or not isinstance(workload, Optimise):
        raise InvalidRequest(
            "--picture", "there is no solution to draw", "an answered optimise job"
        )
    draw_picture(workload.problem, answer.solution, path)


async def _follow(handle: JobHandle, json: bool) -> int:
    following: Callable[[JobHandle], Coroutine[Any, Any, JobResult]]
    following = _live if err().is_terminal else _lines
    try:
        result = await following(handle)
    except (asyncio.CancelledError, KeyboardInterrupt):
        err().print(f"{handle.job_id} goes on: qsaga watch {handle.job_id}", highlight=False)
        raise
    if json:
        print_json(result)
    else:
        views.print_to(out(), views.result_view(result))
    if result.state is JobState.REJECTED:
        return PolicyRefused.exit_code
    return 0 if result.answer is not None else 1


async def _lines(handle: JobHandle) -> JobResult:
    began = None
    async for progress in handle.watch():
        began = began or progress.job.transitions[0].at
        line = views.progress_line(progress, began)
        err().print(line, highlight=False, markup=False, soft_wrap=True)
    return await handle.result()


async def _live(handle: JobHandle) -> JobResult:
    began = None
    spinner = Spinner("dots", text=Text(handle.job_id))
    with Live(spinner, console=err(), transient=True, refresh_per_second=10) as live:
        async for progress in handle.watch():
            began = began or progress.job.transitions[0].at
            line = views.progress_line(progress, began)
            spinner.update(text=Text(line))
            live.console.print(Text(line, style="dim"))
    return await handle.result()
