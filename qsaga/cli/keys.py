"""``qsaga keys``: the file with the keys that payloads are encrypted with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from qsaga.cli.console import out, settings
from qsaga.cli.views import print_to
from qsaga.core.errors import InvalidRequest
from qsaga.keyring import FIELD, Keys, add_key, changing, read_keys

app = typer.Typer(no_args_is_help=True, help="Keys that payloads are encrypted with.")

File = Annotated[
    Path | None,
    typer.Option("--file", help="In place of QSAGA_ENCRYPTION__KEYS_FILE."),
]


@app.command()
def new(
    name: Annotated[str | None, typer.Argument(help="Default: made of today's date.")] = None,
    *,
    use: Annotated[bool, typer.Option("--use", help="Encrypt with it at once.")] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Do nothing where the file has a key already.")
    ] = False,
    file: File = None,
) -> None:
    """Add a key. It decrypts from now on, and encrypts after `qsaga keys rotate`."""
    path = _path(file)
    with _writing(path) as keys:
        if once and keys.keys:
            print(f"{path} has keys already")
            return
        name = add_key(keys, name)
        if use:
            keys.current = name
    print(f"key {name!r} is in {path} and " + ("encrypts" if use else "encrypts nothing yet"))


@app.command()
def rotate(
    name: Annotated[str | None, typer.Argument(help="Default: the newest key.")] = None,
    *,
    file: File = None,
) -> None:
    """Encrypt with another key from now on; every process must have it already."""
    with _writing(_path(file)) as keys:
        name = name or keys.newest()
        if name is None or name not in keys.keys:
            known = ", ".join(sorted(keys.keys)) or "none: make one with `qsaga keys new`"
            raise InvalidRequest("name", f"{name!r} is not in the file", known)
        before, keys.current = keys.current, name
    print(
        f"key {name!r} encrypts"
        + (f", {before!r} still decrypts" if before not in (None, name) else "")
    )


@app.command("list")
def list_(*, file: File = None) -> None:
    """List the keys by their ids, newest first."""
    keys = read_keys(_path(file))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("key", "made", ""):
        table.add_column(head)
    for name, key in sorted(keys.keys.items(), key=lambda one: one[1].created, reverse=True):
        does = "encrypts" if name == keys.current else "decrypts"
        table.add_row(Text(name), f"{key.created:%Y-%m-%d %H:%M:%S} UTC", does)
    print_to(out(), table)


def _path(file: Path | None) -> Path:
    path = file or settings().encryption.keys_file
    if path is None:
        raise InvalidRequest(FIELD, "not set", "a file, here or by --file")
    return path


@contextmanager
def _writing(path: Path) -> Iterator[Keys]:
    try:
        with changing(path) as keys:
            yield keys
    except OSError as error:
        raise InvalidRequest(FIELD, f"{path}: {error.strerror}", "a file to write") from error
