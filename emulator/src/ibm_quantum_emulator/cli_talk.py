"""What commands share that read a document or speak to a running emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import httpx
import typer

from .documents import DocumentError
from .process import ControlClient

Url = Annotated[str, typer.Option(help="Address of the emulator.")]

D = TypeVar("D")


def read_or_exit(read: Callable[[Path], D], file: Path) -> D:
    """Return a document; a wrong one ends the command with 2 and what is wrong in which line."""
    try:
        return read(file)
    except DocumentError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


@contextmanager
def control_of(url: str) -> Iterator[ControlClient]:
    """The control API of a running emulator; a refusal ends the command with 1 and its text."""
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
