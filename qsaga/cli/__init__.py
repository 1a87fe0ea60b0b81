"""The command line: see ``qsaga --help``."""

from __future__ import annotations

import sys


def main() -> int:
    """Entry point; returns the exit code."""
    try:
        # Here, so that whoever imports qsaga needs neither typer nor rich.
        from qsaga.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        print(f"error: install 'qsaga[cli]': {error.name} is missing", file=sys.stderr)
        return 1
    return run(sys.argv[1:])
