"""The commands about tenants, their budgets and the books."""

from __future__ import annotations

import json as text_json
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from qsaga.cli.console import LONG, AsJson, By, amount, operated, out, print_json, scheduled, valid
from qsaga.cli.views import Row, print_to, rows
from qsaga.core.errors import InvalidRequest
from qsaga.core.ledger import Books, Statement, Tenant
from qsaga.core.operations import (
    CheckBooks,
    GetStatement,
    PutTenant,
    Reconcile,
    Reconciliation,
    Sweep,
    Tenants,
)
from qsaga.core.words import number

app = typer.Typer()
tenant = typer.Typer(help="Set tenants up and look at their budgets.", no_args_is_help=False)

BUDGET_HELP = "AMOUNT/PERIOD (day, week, month, year, ever), or 'none' for no limit."
NO_LIMIT = "none"


@tenant.command("set")
def set_tenant(
    file: Annotated[
        Path | None, typer.Argument(help="All of the tenant, as TOML or JSON.", show_default=False)
    ] = None,
    *,
    name: Annotated[str | None, typer.Option("--name", help="Needed without a file.")] = None,
    currency: Annotated[str | None, typer.Option("--currency", help="Such as EUR.")] = None,
    quantum_seconds: Annotated[
        str | None, typer.Option("--quantum-seconds", help=BUDGET_HELP)
    ] = None,
    money: Annotated[str | None, typer.Option("--money", help=BUDGET_HELP)] = None,
    classical_seconds: Annotated[
        str | None, typer.Option("--classical-seconds", help=BUDGET_HELP)
    ] = None,
    jobs: Annotated[
        str | None, typer.Option("--jobs", help="At work at the same time, or 'none'.")
    ] = None,
    when_spent: Annotated[
        str | None, typer.Option("--when-spent", help="refuse, or fallback to other ways.")
    ] = None,
    identity_required: Annotated[
        bool | None,
        typer.Option(
            "--identity-required/--no-identity-required", help="Only verified callers start jobs."
        ),
    ] = None,
    retention_days: Annotated[
        str | None, typer.Option("--retention-days", help="Until records are deleted, or 'none'.")
    ] = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Set a tenant up, or change him: a file says all, options change what they name."""
    changes: dict[str, Any] = {
        "name": name,
        "currency": currency,
        "quantum_seconds": _budget(quantum_seconds, "quantum_seconds"),
        "money": _budget(money, "money"),
        "classical_seconds": _budget(classical_seconds, "classical_seconds"),
        "jobs": jobs,
        "when_spent": when_spent,
        "identity_required": identity_required,
        "retention_days": retention_days,
    }
    given = {
        field: None if value == NO_LIMIT else value
        for field, value in changes.items()
        if value is not None
    }
    if file is not None:
        wanted = valid(Tenant, _read(file) | given, str(file))
    elif name is None:
        raise InvalidRequest("--name", "missing", "a name, or a file with all of the tenant")
    else:
        # First alone, so that what is wrong is told before anybody is asked.
        valid(Tenant, given)
        wanted = valid(Tenant, _known(name, by) | given)
    report = operated(PutTenant(tenant=wanted), by)
    _print(report.statements, report.text, json=json)


@tenant.command("show")
def show_tenant(name: str, *, by: By = None, json: AsJson = False) -> None:
    """Show what a tenant may use, has set aside and has used."""
    report = operated(valid(GetStatement, {"tenant": name}), by)
    _print(report.statements, report.text, json=json)


@tenant.command("list")
def list_tenants(*, by: By = None, json: AsJson = False) -> None:
    """Show all tenants."""
    report = operated(Tenants(), by)
    if json:
        print_json(report.statements)
    else:
        _print(report.statements, report.text, json=False)


@app.command()
def books(*, by: By = None, json: AsJson = False) -> None:
    """Say whether the books close; exit code 1 if not."""
    report = operated(CheckBooks(), by, LONG)
    found = report.books or Books(sums={})
    if json:
        print_json(found)
    else:
        print_to(out(), _books(found, report.text))
    raise typer.Exit(0 if found.closed else 1)


@app.command()
def reconcile(
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Put right what ended jobs left behind."),
    ] = False,
    last: Annotated[
        bool, typer.Option("--last", help="Do nothing; show what the schedule's last one said.")
    ] = False,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Compare books and provider; exit code 1 if they differ."""
    if last and repair:
        raise InvalidRequest("--last", "given beside --repair", "one of them")
    report = scheduled("reconcile") if last else operated(Reconcile(repair=repair), by, LONG)
    found = report.reconciliation
    if json and found is not None:
        print_json(found)
    elif found is None:
        print(report.text)
    else:
        print_to(out(), _reconciliation(found, report.text))
    raise typer.Exit(1 if found is not None and found.differences else 0)


@app.command()
def sweep(
    *,
    days: Annotated[
        int, typer.Option("--days", help="Only files that nobody has used for so long.")
    ] = 7,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete them; without, they are only counted.")
    ] = False,
    last: Annotated[
        bool, typer.Option("--last", help="Do nothing; show what the schedule's last one said.")
    ] = False,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Find files in the data folder that no job and no workflow refers to."""
    if last and delete:
        raise InvalidRequest("--last", "given beside --delete", "one of them")
    wanted = valid(Sweep, {"days": days, "delete": delete})
    report = scheduled("sweep") if last else operated(wanted, by, LONG)
    if json:
        print_json(report)
    else:
        print(report.text)


# --- from words to a tenant --------------------------------------------------------------------


def _budget(text: str | None, field: str) -> Any:
    if text is None or text == NO_LIMIT:
        return text
    limit, _, period = text.partition("/")
    return {"limit": amount(limit, f"{field}.limit")} | ({"period": period} if period else {})


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        toml = file.suffix.lower() == ".toml"
        data = tomllib.loads(text) if toml else text_json.loads(text, parse_float=str)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidRequest(str(file), f"cannot be read: {reason}") from error
    except ValueError as error:
        raise InvalidRequest(str(file), f"no TOML or JSON: {error}") from error
    if not isinstance(data, dict):
        raise InvalidRequest(str(file), "holds no tenant", "a table with name and budgets")
    return data


def _known(name: str, by: str | None) -> dict[str, Any]:
    """The tenant as he is, so that an option changes nothing beside what it names."""
    found = [s.tenant for s in operated(Tenants(), by).statements if s.tenant.name == name]
    return found[0].model_dump() if found else {}


# --- what it looks like ------------------------------------------------------------------------


def _print(statements: tuple[Statement, ...], text: str, *, json: bool) -> None:
    if json and statements:
        print_json(statements[0])
    elif statements:
        print_to(out(), Group(*(_statement(one) for one in statements)))
    else:
        print(text)


def _statement(statement: Statement) -> RenderableType:
    who = statement.tenant
    pairs: list[Row] = [("tenant", Text(who.name, style="bold")), ("currency", who.currency)]
    for line in statement.lines:
        name = line.unit.value.replace("_", " ")
        text = f"{line.text()} ({line.period.words}; {line.spent:f} used, {line.held:f} held)"
        pairs.append((name, text))
    pairs.append(("when spent", who.when_spent))
    pairs.append(("identity", "required" if who.identity_required else "not required"))
    kept = number(who.retention_days, "day") if who.retention_days else "without end"
    pairs.append(("records kept", kept))
    pairs += [
        ("held for", f"{held.job_id} since {held.at:%Y-%m-%d %H:%M} UTC")
        for held in statement.reservations
    ]
    return Group(rows(pairs), Text(""))


def _books(found: Books, text: str) -> RenderableType:
    pairs: list[Row] = [("books", Text(text, style="green" if found.closed else "bold red"))]
    pairs += [(f"sum of {unit}", f"{total:f}") for unit, total in found.sums.items()]
    pairs += [("mismatch", mismatch) for mismatch in found.mismatches]
    pairs.append(("held", number(found.held, "reservation")))
    return rows(pairs)


def _reconciliation(found: Reconciliation, text: str) -> RenderableType:
    pairs: list[Row] = [
        ("at", f"{found.at:%Y-%m-%d %H:%M:%S} UTC"),
        ("provider", found.provider),
        ("result", text),
        ("remote jobs", str(found.remote_jobs)),
        ("booked", f"{found.booked:f} quantum seconds"),
        ("charged", f"{found.charged:f} quantum seconds"),
    ]
    if found.account_consumed is not None:
        limit = "" if found.account_limit is None else f" of {found.account_limit:g}"
        pairs.append(("whole account", f"{found.account_consumed:g}{limit} quantum seconds used"))
    for one in found.differences:
        pairs += [("difference", one.text), ("what to do", one.advice or "-")]
    pairs += [
        ("held, job ended", f"{one.job_id} since {one.at:%Y-%m-%d %H:%M} UTC")
        for one in found.orphans
    ]
    pairs += [("ended from outside", job_id) for job_id in found.lost]
    pairs += [("not written down", job_id) for job_id in found.unwritten]
    pairs += [("released", key) for key in found.released]
    # What was released stands above by its key.
    pairs += [("repaired", text) for text in found.repaired if not text.startswith("reservation ")]
    pairs += [("not yet", text) for text in found.left]
    return rows(pairs)
