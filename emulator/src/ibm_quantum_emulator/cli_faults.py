"""Commands about the fault plan and the request log of a running emulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer

from .documents import DocumentError
from .endpoints import ENDPOINTS
from .faultplan import Plan, described, read_plan
from .process import ControlClient

faults_app = typer.Typer(no_args_is_help=True, help="Check, show and change the fault plan.")

Url = Annotated[str, typer.Option(help="Address of the emulator.")]


@faults_app.command()
def check(file: Annotated[Path, typer.Argument(help="Fault plan, TOML or JSON.")]) -> None:
    """Print the rules as they are understood, or what is wrong and in which line."""
    plan = _read(file)
    typer.echo(f"{file}: seed {plan.seed}, {len(plan.faults)} rules")
    for rule in plan.faults:
        typer.echo(f"  {described(rule)}")


@faults_app.command()
def show(url: Url) -> None:
    """Print the plan in force and how often each rule matched and fired."""
    with _control(url) as control:
        for rule in control.faults()["faults"]:
            counts = f"matched {rule['matched']}, fired {rule['fired']}"
            typer.echo(f"{rule['description']} ({counts})")


@faults_app.command("set")
def replace(
    file: Annotated[Path, typer.Argument(help="Fault plan, TOML or JSON.")], url: Url
) -> None:
    """Replace the plan in force."""
    plan = _read(file)
    with _control(url) as control:
        control.put_plan(plan.document())
    typer.echo(f"{len(plan.faults)} rules in force")


@faults_app.command()
def clear(url: Url) -> None:
    """Remove all rules."""
    with _control(url) as control:
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
    with _control(url) as control:
        for row in control.request_log(since_id, endpoint=endpoint, tag=tag, limit=limit):
            typer.echo(json.dumps(row))


def _read(file: Path) -> Plan:
    try:
        return read_plan(file)
    except DocumentError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


@contextmanager
def _control(url: str) -> Iterator[ControlClient]:
    control = ControlClient(url)
    try:
        yield control
    except httpx.HTTPStatusError as error:
        typer.echo(f"error: {error.response.text}", err=True)
        raise typer.Exit(1) from error
    except httpx.TransportError as error:
        typer.echo(f"error: no emulator at {url}: {error}", err=True)
        raise typer.Exit(1) from error
    finally:
        control.close()
