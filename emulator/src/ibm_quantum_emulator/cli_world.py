"""Commands about world documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_talk import Url, control_of, read_or_exit
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
def replace(file: File, url: Url) -> None:
    """Put a world in force in a running emulator."""
    world = _read(file)
    with control_of(url) as control:
        control.set_world(world.document())
    typer.echo("in force")


def _read(file: Path) -> World:
    return read_or_exit(lambda path: read_fitting(path, {}), file)
