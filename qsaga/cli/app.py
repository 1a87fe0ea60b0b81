"""The commands."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from qsaga.cli import views
from qsaga.cli.doctor import examine
from qsaga.cli.requests import Options, plain, request_from, split_job
from qsaga.client import JobHandle, QsagaClient
from qsaga.core.errors import InvalidRequest, PolicyRefused, QsagaError
from qsaga.core.results import JobResult
from qsaga.core.states import JobState
from qsaga.core.validation import invalid_request
from qsaga.problems import registry
from qsaga.settings import Settings

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Durable hybrid quantum-classical jobs: each ends with an accountable answer.",
)

INTERRUPTED = 130
LOOK = 0.5
"""Seconds that ``show`` gives a job to turn out to have ended."""

P = ParamSpec("P")

# --- options that plan and run share -----------------------------------------------------------

File = Annotated[
    Path,
    typer.Argument(
        help="A job request (JSON or TOML), or a problem: edge list, G-set, dimod JSON, COO."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Job = Annotated[str, typer.Argument(help="tenant/key, or a key of the tenant 'default'.")]


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all options of ``Options``, handed over as one object."""
    import inspect

    text: Any = str | None
    described: dict[str, tuple[Any, str, str]] = {
        "problem": (text, "--problem", "What a problem file holds: maxcut, independent_set, qubo."),
        "format": (text, "--format", "Its format: edges, gset, bqm, coo, sparse."),
        "key": (text, "--key", "Idempotency key; made of the content if left out."),
        "tenant": (text, "--tenant", "On whose account."),
        "route": (text, "--route", "Try this first: hardware, simulator, annealing."),
        "backend": (text, "--backend", "A backend by name."),
        "seed": (int | None, "--seed", "Of everything random on our side."),
        "shots": (int | None, "--shots", "Shots of a circuit."),
        "depth": (int | None, "--depth", "Layers of QAOA."),
        "angles": (text, "--angles", "Of QAOA: auto, fixed, ramp."),
        "deadline": (text, "--deadline", "Until the answer: 90, 90s, 15m, 2h."),
        "queue": (text, "--queue", "Waiting at the provider."),
        "execution": (text, "--execution", "Running at the provider."),
        "solve": (text, "--solve", "For a classical solver."),
        "simulate": (text, "--simulate", "For a simulator."),
        "quantum_seconds": (float | None, "--quantum-seconds", "That may be charged."),
        "money": (text, "--money", "That the job may cost."),
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


# --- commands ----------------------------------------------------------------------------------


@app.command()
@_shared
def plan(file: File, *, json: AsJson = False, options: Options) -> None:
    """Say where a job would go, why, and what that is expected to take. Nothing is run."""
    request = request_from(file, options)

    async def work() -> None:
        decision = await (await QsagaClient.connect(_settings())).plan(request)
        if json:
            print(decision.model_dump_json(indent=2))
        else:
            views.print_to(_out(), views.decision_view(decision))

    asyncio.run(work())


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

    async def work() -> int:
        handle = await (await QsagaClient.connect(_settings())).start(request)
        if not detach:
            return await _follow(handle, json)
        print(plain({"job_id": handle.job_id}) if json else handle.job_id)
        if not json:
            _err().print(f"follow it with: qsaga watch {handle.job_id}", highlight=False)
        return 0

    raise typer.Exit(asyncio.run(work()))


@app.command()
def watch(job: Job, *, json: AsJson = False) -> None:
    """Show each change of a job until it ends, then its result."""

    async def work() -> int:
        return await _follow((await QsagaClient.connect(_settings())).job(split_job(job)), json)

    raise typer.Exit(asyncio.run(work()))


@app.command()
def show(job: Job, *, json: AsJson = False) -> None:
    """Show all that is known of a job: result, decision, attempts, charges, late results."""

    async def work() -> None:
        handle = (await QsagaClient.connect(_settings())).job(split_job(job))
        try:
            await handle.result(LOOK)
        except TimeoutError:
            progress = await handle.progress()
            if json:
                print(progress.model_dump_json(indent=2))
                return
            began = progress.job.transitions[0].at if progress.job.transitions else None
            _out().print(f"{handle.job_id}  {views.progress_line(progress, began)}")
            if progress.job.decision is not None:
                views.print_to(_out(), views.decision_view(progress.job.decision))
            return
        account = await handle.account()
        if json:
            print(account.model_dump_json(indent=2))
        else:
            views.print_to(_out(), views.account_view(account))

    asyncio.run(work())


@app.command()
def cancel(job: Job) -> None:
    """Ask a job to end. What it holds at a provider is cancelled and accounted for."""

    async def work() -> None:
        handle = (await QsagaClient.connect(_settings())).job(split_job(job))
        try:
            result = await handle.result(LOOK)
        except TimeoutError:
            await handle.cancel()
            print(f"{handle.job_id} was asked to end")
        else:
            print(f"{handle.job_id} had ended already: {result.state.value}")

    asyncio.run(work())


@app.command()
def doctor() -> None:
    """Show the settings, secrets masked, and whether Temporal and a worker can be reached."""
    raise typer.Exit(asyncio.run(examine(_settings(), _out())))


@app.command()
def problems() -> None:
    """List the problems that can be solved by name."""
    views.print_to(
        _out(), views.rows((name, registry.get(name).title) for name in registry.names())
    )


# --- around the commands -----------------------------------------------------------------------


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code; an expected error is one line on stderr."""
    try:
        code = app(arguments or ["--help"], prog_name="qsaga", standalone_mode=False)
    except typer.TyperException as error:
        return _complain(error.format_message(), error.exit_code)
    except QsagaError as error:
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _complain(text: str, code: int) -> int:
    print("error: " + " ".join(text.split()), file=sys.stderr)
    return code


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        raise invalid_request(error, "settings") from error
    except OSError as error:
        raise InvalidRequest("QSAGA_CONFIG", f"cannot be read: {error}") from error


async def _follow(handle: JobHandle, json: bool) -> int:
    following: Callable[[JobHandle], Coroutine[Any, Any, JobResult]]
    following = _live if _err().is_terminal else _lines
    try:
        result = await following(handle)
    except (asyncio.CancelledError, KeyboardInterrupt):
        _err().print(f"{handle.job_id} goes on: qsaga watch {handle.job_id}", highlight=False)
        raise
    if json:
        print(result.model_dump_json(indent=2))
    else:
        views.print_to(_out(), views.result_view(result))
    if result.state is JobState.REJECTED:
        return PolicyRefused.exit_code
    return 0 if result.answer is not None else 1


async def _lines(handle: JobHandle) -> JobResult:
    began = None
    async for progress in handle.watch():
        began = began or progress.job.transitions[0].at
        _err().print(views.progress_line(progress, began), highlight=False, soft_wrap=True)
    return await handle.result()


async def _live(handle: JobHandle) -> JobResult:
    began = None
    spinner = Spinner("dots", text=Text(handle.job_id))
    with Live(spinner, console=_err(), transient=True, refresh_per_second=10) as live:
        async for progress in handle.watch():
            began = began or progress.job.transitions[0].at
            line = views.progress_line(progress, began)
            spinner.update(text=Text(line))
            live.console.print(Text(line, style="dim"))
    return await handle.result()


def _out() -> Console:
    return Console()


def _err() -> Console:
    return Console(stderr=True)
