"""All commands together, and what becomes of an error."""

from __future__ import annotations

import sys

import typer

from qsaga.cli import books, jobs, keys, loops, people, problems, quarantine, records
from qsaga.core.errors import QsagaError

INTERRUPTED = 130

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Durable hybrid quantum-classical jobs: each ends with an accountable answer.",
)
for part in (jobs, loops, people, quarantine, books, records):
    app.add_typer(part.app)
app.add_typer(books.tenant, name="tenant")
app.add_typer(keys.app, name="keys")
app.add_typer(problems.app, name="problems")


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
    except typer.Abort:
        return _complain("nothing was done", 1)
    return code if isinstance(code, int) else 0


def _complain(text: str, code: int) -> int:
    print("error: " + " ".join(text.split()), file=sys.stderr)
    return code
