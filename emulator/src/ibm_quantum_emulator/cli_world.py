"""Commands about world documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import httpx
import typer

from .documents import DocumentError
from .process import ControlClient
from .worldcheck import read_fitting
from .worldfile import World

world_app = typer.Typer(no_args_is_help=True, help="Check and change the world around the account.")

File = Annotated[Path, typer.Argument(help="World document, TOML or JSON.")]


@world_app.command()
def check(file: File) -> None:
    """Print the world as it is understood, or what is wrong and in which line."""
    world = _read(file)
    for line in world.described():
        typer.echo(line)


@world_app.command("set")
def replace(file: File, url: Annotated[str, typer.Option(help="Address of the emulator.")]) -> None:
    """Put a world in force in a running emulator."""
    world = _read(file)
    control = ControlClient(url)
    try:
        control.set_world(world.document())
    except httpx.HTTPStatusError as error:
        typer.echo(f"error: {error.response.text}", err=True)
        raise typer.Exit(1) from error
    except httpx.TransportError as error:
        typer.echo(f"error: no emulator at {url}: {error}", err=True)
        raise typer.Exit(1) from error
    finally:
        control.close()
    typer.echo("in force")


def _read(file: Path) -> World:
    try:
        return read_fitting(file, {})
    except DocumentError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
