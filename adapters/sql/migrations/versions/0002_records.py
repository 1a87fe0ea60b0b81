"""What a job was made of and how it went, in columns and rows; the log of who did what."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from adapters.sql.migrations._first_release import fill

revision = "0002_records"
down_revision = "0001_first"
branch_labels = None
depends_on = None

_MONEY = sa.Numeric().with_variant(sa.String(), "sqlite")


def upgrade() -> None:
    """Widen the tables of the jobs, add those that hang on them, and fill both."""
    _widen()
    _parts()
    _lineage_and_artefacts()
    fill(op.get_bind())
    _audit()


def _at(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), **options)


def _texts(*names: str, nullable: bool = True) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text, nullable=nullable) for name in names]


def _floats(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Float) for name in names]


def _integers(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger) for name in names]


def _widen() -> None:
    for column in (
        sa.Column("tenant", sa.Text, nullable=False, server_default=""),
        sa.Column("key", sa.Text, nullable=False, server_default=""),
        _at("closed"),
        _at("forgotten"),
        *_texts("submitter"),
        sa.Column("guarded", sa.Boolean),
        *_texts("request", "verb", "sensitivity", "environment", "template"),
        *_texts("experiment", "dataset", "decision", "policy_version", "rule", "wanted"),
        *_texts("source", "provider", "backend", "confidence"),
        *_floats("objective"),
        *_texts("reason", "layer", "approval"),
        *_floats("quantum_seconds", "classical_seconds"),
        sa.Column("money", _MONEY),
        *_texts("currency"),
        *_floats("seconds"),
    ):
        op.add_column("jobs", column)
    for columns in (
        ["opened"],
        ["closed"],
        ["tenant", "opened"],
        ["state", "opened"],
        ["experiment", "opened"],
        ["template", "state"],
    ):
        op.create_index(f"ix_jobs_{'_'.join(columns)}", "jobs", columns)
    for column in (
        *_floats("objective", "served_objective", "difference"),
        *_texts("comparison"),
    ):
        op.add_column("late_results", column)


def _part(table: str, *columns: sa.Column[Any], key: tuple[str, ...] = ("position",)) -> None:
    op.create_table(
        table,
        sa.Column("job_id", sa.String(192), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("job_id", *key, name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=f"fk_{table}_job_id"),
    )


def _position() -> sa.Column[Any]:
    return sa.Column("position", sa.Integer, nullable=False, autoincrement=False)


def _parts() -> None:
    _part("transitions", _position(), *_texts("state", nullable=False), _at("at", nullable=False))
    _part(
        "attempts",
        _position(),
        *_texts("rung", "outcome", "reason", nullable=False),
        *_texts("layer", "run_id"),
        *_floats("objective"),
    )
    _part(
        "timings",
        _position(),
        *_texts("layer", nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        *_texts("rung"),
    )
    _part(
        "approvals",
        _position(),
        *_texts("verdict", "decided_by", nullable=False),
        _at("at", nullable=False),
        *_texts("why", nullable=False),
        *_floats("quantum_seconds"),
        sa.Column("money", _MONEY),
        *_texts("refused", nullable=False),
    )


def _lineage_and_artefacts() -> None:
    _part(
        "lineage",
        *_texts("input_sha256", "dataset", "experiment", "template", "environment"),
        *_texts("policy_version", "formulation", "preprocessing", "postprocessing"),
        *_integers("variables", "couplings", "qubits", "parameter_sets", "shots"),
        *_integers("encoded_bytes", "payload_bytes", "measurements"),
        *_texts("transpiler", "calibration", "partial", "machine"),
        *_texts("circuit_backend", "circuit_calibration_id"),
        *_integers("circuit_qubits", "circuit_depth", "circuit_two_qubit_gates"),
        *_texts("circuit_layout"),
        *_integers("circuit_seed_transpiler", "circuit_optimization_level"),
        *_texts("circuit_sha256"),
        *_integers("seed"),
        *_texts("software"),
        key=(),
    )
    _part(
        "job_artefacts",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        *_texts("media", nullable=False),
        key=("sha256",),
    )
    op.create_index("ix_job_artefacts_sha256", "job_artefacts", ["sha256"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        *_texts("id", nullable=False),
        _at("at", nullable=False),
        *_texts("who", nullable=False),
        sa.Column("verified", sa.Boolean, nullable=False),
        *_texts("action", nullable=False),
        *_texts("tenant"),
        *_texts("subject", "reason", "detail", nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit"),
        sa.UniqueConstraint("id", name="uq_audit_id"),
    )
    op.create_index("ix_audit_tenant_number", "audit", ["tenant", "number"])
    op.create_index("ix_audit_subject_number", "audit", ["subject", "number"])
    postgresql = op.get_bind().dialect.name == "postgresql"
    for statement in _ON_POSTGRESQL if postgresql else _ON_SQLITE:
        op.execute(sa.text(statement))


_REFUSAL = "the audit log is append-only"

_ON_POSTGRESQL = (
    f"""
    CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$
    """,
    """
    CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()
    """,
    # Also where the session says that it only replays what another server did.
    "ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_append_only",
)

_ON_SQLITE = (
    f"""
    CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END
    """,
    f"""
    CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END
    """,
    # INSERT OR REPLACE deletes what is in its way without asking the trigger above.
    """
    CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit
    WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number OR id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
    """,
)
