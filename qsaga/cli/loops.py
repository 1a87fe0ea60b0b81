"""The command about variational loops, and what the commands about jobs do with a loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from qsaga.cli import views
from qsaga.cli.console import AsJson, err, out, print_json, with_client
from qsaga.cli.requests import document, plain
from qsaga.client import LoopHandle, QsagaClient
from qsaga.core.errors import InvalidRequest, PolicyRefused
from qsaga.core.loops import LoopAnswer, LoopRequest, LoopResult, LoopStatus
from qsaga.core.states import JobState
from qsaga.core.validation import invalid_request

app = typer.Typer()

LOOK = 0.5
"""Seconds that a loop gets to turn out to have ended."""


@app.command("loop")
def run_loop(
    file: Annotated[Path, typer.Argument(help="A loop request (JSON or TOML).")],
    *,
    key: Annotated[str | None, typer.Option(help="Idempotency key.")] = None,
    tenant: Annotated[str | None, typer.Option(help="On whose account.")] = None,
    route: Annotated[str | None, typer.Option(help="hardware or simulator.")] = None,
    backend: Annotated[str | None, typer.Option(help="A backend by name.")] = None,
    detach: Annotated[bool, typer.Option(help="Start it and do not wait.")] = False,
    json: AsJson = False,
) -> None:
    """Start a variational loop, or find it if the same was started before, and follow it."""
    options = {"key": key, "tenant": tenant, "route": route, "backend": backend}
    request = loop_from(file, {name: value for name, value in options.items() if value})

    async def work(client: QsagaClient) -> int:
        handle = await client.submit_loop(request)
        if not detach:
            return await follow(handle, json=json)
        print(plain({"loop_id": handle.loop_id}) if json else handle.loop_id)
        return 0

    raise typer.Exit(with_client(work))


def loop_from(path: Path, options: dict[str, str]) -> LoopRequest:
    """The loop that a file and the options amount to. Raises InvalidRequest."""
    data = document(path)
    if not isinstance(data, dict):
        raise InvalidRequest(str(path), "no loop request", "an object with workload, key, ...")
    try:
        return LoopRequest.model_validate(data | options)
    except ValidationError as error:
        raise invalid_request(error) from error


def watch_loop(loop_id: str, *, json: bool) -> int:
    """Follow a loop to its end."""
    return with_client(lambda client: follow(client.loop(loop_id), json=json))


def show_loop(loop_id: str, *, json: bool) -> None:
    """What is known of a loop now."""

    async def work(client: QsagaClient) -> LoopResult | LoopStatus:
        handle = client.loop(loop_id)
        try:
            return await handle.result(LOOK)
        except TimeoutError:
            return await handle.progress()

    told = with_client(work)
    if json:
        print_json(told)
    elif isinstance(told, LoopResult):
        views.print_to(out(), result_view(told))
    else:
        out().print(progress_line(told), highlight=False, markup=False, soft_wrap=True)


def cancel_loop(loop_id: str) -> None:
    """Ask a loop to end."""

    async def work(client: QsagaClient) -> None:
        handle = client.loop(loop_id)
        try:
            result = await handle.result(LOOK)
        except TimeoutError:
            await handle.cancel()
            print(f"{loop_id} was asked to end")
        else:
            print(f"{loop_id} had ended already: {result.state.value}")

    with_client(work)


async def follow(handle: LoopHandle, *, json: bool) -> int:
    """Print each step of a loop, then its result; the exit code."""
    seen: tuple[JobState, int] | None = None
    async for status in handle.watch():
        if (status.state, status.iteration) != seen:
            seen = (status.state, status.iteration)
            err().print(progress_line(status), highlight=False, markup=False, soft_wrap=True)
    result = await handle.result()
    if json:
        print_json(result)
    else:
        views.print_to(out(), result_view(result))
    if result.state is JobState.REJECTED:
        return PolicyRefused.exit_code
    return 0 if result.answer is not None else 1


def progress_line(status: LoopStatus) -> str:
    """One line that says where a loop stands."""
    if (asked := status.approval) is not None and status.state is JobState.AWAITING_APPROVAL:
        return f"waits for a person: {asked.request.terms.because} ({asked.request.plan})"
    words = [f"{status.iteration} iterations measured (search: at most {status.of})"]
    if status.best is not None:
        words.append(f"best {_value(status.best)}")
    words.append(views.cost(status.cost))
    return " · ".join(words)


def result_view(result: LoopResult) -> Table:
    """How a loop ended."""
    state = Text(result.state.value, style=views.STATE_STYLE.get(result.state, ""))
    pairs: list[views.Row] = [
        ("loop", result.loop_id),
        ("state", state),
        ("stopped", f"{result.stopped}: {result.reason}"),
    ]
    if (answer := result.answer) is not None:
        how = "measured anew at the end" if answer.confirmed else "lowest of the search, not anew"
        pairs += [
            ("value", Text(_value(answer), style="bold")),
            ("", f"{how}, on {answer.source.value}, by job {answer.job_id}"),
            ("at", ", ".join(f"{name} = {value:g}" for name, value in answer.parameters.items())),
        ]
    if result.unanswered is not None:
        pairs.append(("no answer", result.unanswered.reason))
    measured = ", ".join(f"{count} on {rung.value}" for rung, count in result.sources.items())
    pairs += [
        ("iterations", f"{len(result.iterations)}, points: {measured or 'none'}"),
        ("optimiser", result.software.get("optimiser", result.optimiser.name)),
        ("cost", views.cost(result.cost)),
    ]
    return views.rows(pairs)


def _value(answer: LoopAnswer) -> str:
    return f"{answer.value:.6g} ± {answer.standard_error:.2g}"
