"""Commands about the fault plan and the request log of a running emulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .cli_talk import Url, control_of, read_or_exit
from .endpoints import ENDPOINTS
from .faultplan import described, read_plan

faults_app = typer.Typer(no_args_is_help=True, help="Check, show and change the fault plan.")


@faults_app.command()
def check(file: Annotated[Path, typer.Argument(help="Fault plan, TOML or JSON.")]) -> None:
    """Print the rules as they are understood, or what is wrong and in which line."""
    plan = read_or_exit(read_plan, file)
    typer.echo(f"{file}: seed {plan.seed}, {len(plan.faults)} rules")
    for rule in plan.faults:
        typer.echo(f"  {described(rule)}")


@faults_app.command()
def show(url: Url) -> None:
    """Print the plan in force and how often each rule matched and fired."""
    with control_of(url) as control:
        for rule in control.faults()["faults"]:
            counts = f"matched {rule['matched']}, fired {rule['fired']}"
            typer.echo(f"{rule['description']} ({counts})")


@faults_app.command("set")
def replace(
    file: Annotated[Path, typer.Argument(help="Fault plan, TOML or JSON.")], url: Url
) -> None:
    """Replace the plan in force."""
    plan = read_or_exit(read_plan, file)
    with control_of(url) as control:
        control.put_plan(plan.document())
    typer.echo(f"{len(plan.faults)} rules in force")


@faults_app.command()
def clear(url: Url) -> None:
    """Remove all rules."""
    with control_of(url) as control:
        control.clear_plan()
    typer.echo("no rules in force")


def requests(
    url: Url,
    since_id: Annotated[int, typer.Option(help="Only later ones than this.")] = 0,
    endpoint: Annotated[
        str | None, typer.Option(help=f"Only of one of: {', '.join(ENDPOINTS)}.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Only submissions with this tag.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 1000,
) -> None:
    """Print the request log, one JSON object per line."""
    with control_of(url) as control:
        for row in control.request_log(since_id, endpoint=endpoint, tag=tag, limit=limit):
            typer.echo(json.dumps(row))
