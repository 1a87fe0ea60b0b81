"""Filling the columns and rows of revision 0002 from the results that the first release kept.

It reads the JSON as that release wrote it, and no model of today, which may change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

_BATCH = 500
_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "opened": sa.DateTime(timezone=True),
    "closed": sa.DateTime(timezone=True),
    "at": sa.DateTime(timezone=True),
    "money": sa.Numeric().with_variant(sa.String(), "sqlite"),
}


def _table(name: str, *columns: str) -> sa.TableClause:
    return sa.table(
        name, *(sa.column(column, _TYPES.get(column, sa.types.NullType())) for column in columns)
    )


_JOBS = _table(
    "jobs",
    *("job_id", "opened", "result", "tenant", "key", "closed", "verb", "decision"),
    *("policy_version", "rule", "wanted", "source", "provider", "backend", "confidence"),
    *("objective", "reason", "layer", "quantum_seconds", "classical_seconds", "money"),
    *("currency", "seconds"),
)
_CHARGES = _table("charges", "job_id", "run_id", "position", "quantum_seconds", "money", "currency")
_LATE = _table(
    "late_results",
    *("run_id", "job_id", "late", "objective", "served_objective", "difference", "comparison"),
)
_TRANSITIONS = _table("transitions", "job_id", "position", "state", "at")
_ATTEMPTS = _table(
    "attempts", "job_id", "position", "rung", "outcome", "reason", "layer", "run_id", "objective"
)
_TIMINGS = _table("timings", "job_id", "position", "layer", "seconds", "rung")
_LINEAGE = _table(
    "lineage",
    *("job_id", "policy_version", "shots", "circuit_backend", "circuit_calibration_id"),
    *("circuit_qubits", "circuit_depth", "circuit_two_qubit_gates", "circuit_layout"),
    *("circuit_seed_transpiler", "circuit_optimization_level", "circuit_sha256", "seed"),
    "software",
)
_ARTEFACTS = _table("job_artefacts", "job_id", "sha256", "size", "media")
_CIRCUIT = (
    *("backend", "calibration_id", "qubits", "depth", "two_qubit_gates"),
    *("seed_transpiler", "optimization_level", "sha256"),
)


def fill(connection: sa.Connection) -> None:
    """Read every job and write what can be known of it."""
    for batch in _batches(connection):
        ids = [row.job_id for row in batch]
        charged = _by_job(connection, _CHARGES, ids)
        late = _by_job(connection, _LATE, ids)
        changes: dict[sa.TableClause, list[dict[str, Any]]] = {_JOBS: [], _LATE: []}
        rows: dict[sa.TableClause, list[dict[str, Any]]] = {}
        for row in batch:
            result: dict[str, Any] = {} if row.result is None else json.loads(row.result)
            told = [json.loads(each.late) for each in late.get(row.job_id, [])]
            changes[_JOBS].append(_job(row, result, charged.get(row.job_id, [])))
            changes[_LATE] += [_late(each) for each in told]
            for table, values in _parts(result, told):
                rows.setdefault(table, []).append({"job_id": row.job_id, **values})
        for table, values_of in changes.items():
            _change(connection, table, values_of)
        for table, new in rows.items():
            connection.execute(sa.insert(table), new)


def _batches(connection: sa.Connection) -> Iterator[Sequence[Any]]:
    last = ""
    while batch := connection.execute(
        sa.select(_JOBS.c.job_id, _JOBS.c.opened, _JOBS.c.result)
        .where(_JOBS.c.job_id > last)
        .order_by(_JOBS.c.job_id)
        .limit(_BATCH)
    ).all():
        yield batch
        last = batch[-1].job_id


def _by_job(
    connection: sa.Connection, table: sa.TableClause, ids: list[str]
) -> dict[str, list[sa.Row[Any]]]:
    order = [table.c.run_id, *([table.c.position] if "position" in table.c else [])]
    found: dict[str, list[sa.Row[Any]]] = {}
    for row in connection.execute(sa.select(table).where(table.c.job_id.in_(ids)).order_by(*order)):
        found.setdefault(row.job_id, []).append(row)
    return found


def _change(connection: sa.Connection, table: sa.TableClause, rows: list[dict[str, Any]]) -> None:
    """Rows of equal columns, each found by its first one."""
    if rows:
        key, *names = rows[0]
        statement = sa.update(table).where(table.c[key] == sa.bindparam(f"of_{key}"))
        connection.execute(
            statement.values({name: sa.bindparam(f"of_{name}") for name in names}),
            [{f"of_{name}": value for name, value in row.items()} for row in rows],
        )


def _job(row: Any, result: dict[str, Any], charged: list[Any]) -> dict[str, Any]:
    tenant, _, key = row.job_id.partition("/")
    return {
        "job_id": row.job_id,
        "tenant": tenant,
        "key": key,
        **_of_result(result, row.opened),
        **_cost(charged, result.get("cost") or {}),
    }


def _late(told: dict[str, Any]) -> dict[str, Any]:
    names = ("objective", "served_objective", "difference", "comparison")
    return {"run_id": told["run_id"], **{name: _words(told.get(name)) for name in names}}


def _of_result(result: dict[str, Any], opened: datetime) -> dict[str, Any]:
    decision = result.get("decision") or {}
    answer = result.get("answer") or {}
    quality = answer.get("quality") or {}
    unanswered = result.get("unanswered") or {}
    provenance = result.get("provenance") or {}
    opened = opened.replace(tzinfo=UTC) if opened.tzinfo is None else opened
    entered = [_moment(each["at"]) for each in result.get("transitions") or ()]
    closed = entered[-1] if entered else opened
    return {
        "closed": closed if result else None,
        "seconds": (closed - opened).total_seconds() if result else None,
        "verb": (decision.get("facts") or {}).get("verb") or answer.get("kind"),
        "decision": json.dumps(decision) if decision else None,
        **{name: _words(decision.get(name)) for name in ("policy_version", "rule", "wanted")},
        **{name: _words(provenance.get(name)) for name in ("source", "provider", "backend")},
        "confidence": quality.get("confidence") or answer.get("confidence"),
        "objective": quality.get("objective"),
        "reason": _words(unanswered.get("reason")),
        "layer": unanswered.get("layer"),
    }


def _cost(charged: list[sa.Row[Any]], told: dict[str, Any]) -> dict[str, Any]:
    if charged:
        currency = charged[0].currency
        same = [row for row in charged if row.currency == currency]
        spent = f"{sum((Decimal(row.money) for row in same), Decimal(0)):f}"
        quantum = sum(row.quantum_seconds for row in charged)
    elif told:
        currency, spent = told.get("currency", "USD"), str(told.get("money", "0"))
        quantum = told.get("quantum_seconds", 0.0)
    else:
        currency, spent, quantum = None, None, None
    return {
        "quantum_seconds": quantum,
        "classical_seconds": told.get("classical_seconds"),
        "money": spent,
        "currency": currency,
    }


def _parts(
    result: dict[str, Any], late: list[dict[str, Any]]
) -> Iterator[tuple[sa.TableClause, dict[str, Any]]]:
    """The rows that hang on a job, without its id."""
    for table, told in (
        (_TRANSITIONS, [t | {"at": _moment(t["at"])} for t in result.get("transitions") or ()]),
        (_ATTEMPTS, [{"reason": ""} | attempt for attempt in result.get("attempts") or ()]),
        (_TIMINGS, result.get("timings") or ()),
    ):
        names = [column.name for column in table.c if column.name not in ("job_id", "position")]
        for position, each in enumerate(told):
            yield table, {"position": position} | {n: _words(each.get(n)) for n in names}
    provenance = result.get("provenance") or {}
    if provenance:
        yield _LINEAGE, _lineage(provenance, result.get("decision") or {})
    known = [*(provenance.get("artefacts") or {}).values(), *(each["result"] for each in late)]
    for ref in {ref["sha256"]: ref for ref in known}.values():
        yield _ARTEFACTS, {name: ref[name] for name in ("sha256", "size", "media")}


def _lineage(provenance: dict[str, Any], decision: dict[str, Any]) -> dict[str, Any]:
    circuit = provenance.get("circuit") or {}
    return {
        "policy_version": decision.get("policy_version"),
        "shots": provenance.get("shots"),
        "seed": provenance.get("seed"),
        "software": json.dumps(provenance.get("software") or {}, sort_keys=True),
        "circuit_layout": json.dumps(circuit["layout"]) if circuit else None,
        **{f"circuit_{name}": circuit.get(name) for name in _CIRCUIT},
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _words(value: Any) -> Any:
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value
