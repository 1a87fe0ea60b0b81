"""The tables of the jobs and of the audit log. Revisions in ``migrations`` make them.

``jobs`` and what hangs on it can be asked in plain SQL; only whole documents are JSON text.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from adapters.sql._engine import Moment, Money, Words, metadata

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(192), primary_key=True),
    Column("payload_hash", String(64), nullable=False),
    Column("opened", Moment, nullable=False),
    Column("state", String(32)),
    Column("result", Text),
    Column("tenant", Words, nullable=False, server_default=""),
    Column("key", Words, nullable=False, server_default=""),
    Column("closed", Moment),
    Column("forgotten", Moment),
    Column("submitter", Words),
    Column("guarded", Boolean),
    Column("request", Text),
    Column("verb", Words),
    Column("sensitivity", Words),
    Column("environment", Words),
    Column("template", Words),
    Column("experiment", Words),
    Column("dataset", Words),
    Column("decision", Text),
    Column("policy_version", Words),
    Column("rule", Words),
    Column("wanted", Words),
    Column("source", Words),
    Column("provider", Words),
    Column("backend", Words),
    Column("confidence", Words),
    Column("objective", Float),
    Column("reason", Words),
    Column("layer", Words),
    Column("approval", Text),
    Column("quantum_seconds", Float),
    Column("classical_seconds", Float),
    Column("money", Money),
    Column("currency", Words),
    Column("seconds", Float),
    Index("ix_jobs_opened", "opened"),
    Index("ix_jobs_closed", "closed"),
    Index("ix_jobs_tenant_opened", "tenant", "opened"),
    Index("ix_jobs_state_opened", "state", "opened"),
    Index("ix_jobs_experiment_opened", "experiment", "opened"),
    Index("ix_jobs_template_state", "template", "state"),
)
"""One row for each job.

``quantum_seconds``, ``money`` and ``currency`` follow the charges, also those booked after the
job was closed; charges in another currency than the first stand in ``charges`` only.
``seconds`` is from opened to closed. SQLite keeps exact amounts as text, which its own ``sum``
adds as binary numbers.
"""

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(128), primary_key=True),
    Column("job_id", ForeignKey("jobs.job_id"), nullable=False, index=True),
    Column("settled", Boolean, nullable=False),
    Column("sends", Integer, nullable=False, default=0),
    Column("last_sent_at", Moment),
    Column("closed_by", String(64)),
    Column("watched", Text),
    Column("quarantined", Moment),
    Column("quarantine", Text),
    Column("resolution", Text),
)
"""One row for each submission to hardware.

``closed_by`` is the Temporal run that closed it to sending. ``watched``,
``quarantine`` and ``resolution`` are JSON documents of ``qsaga.core.submission``.
"""

loops = Table(
    "loops",
    metadata,
    Column("loop_id", String(192), primary_key=True),
    Column("tenant", Words, nullable=False),
    Column("payload_hash", String(64), nullable=False),
    Column("opened", Moment, nullable=False),
    Column("guarded", Boolean),
    Column("state", String(32)),
    Column("closed", Moment),
    Column("forgotten", Moment),
    Column("result", Text),
    Index("ix_loops_closed", "closed"),
)
"""One row for each variational loop; ``result`` is a JSON document."""

provider_sessions = Table(
    "provider_sessions",
    metadata,
    Column("session_id", String(64), primary_key=True),
    Column("job_id", ForeignKey("jobs.job_id"), nullable=False),
    Column("opened", Moment),
    Column("closed", Moment),
    Column("record", Text, nullable=False),
)
"""One row for each session that jobs share; ``record`` is a JSON document."""

charges = Table(
    "charges",
    metadata,
    Column("provider", String(64), primary_key=True),
    Column("provider_job_id", String(128), primary_key=True),
    Column("job_id", ForeignKey("jobs.job_id"), nullable=False, index=True),
    Column("run_id", ForeignKey("runs.run_id"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("backend", String(128), nullable=False),
    Column("state", String(32), nullable=False),
    Column("role", String(16), nullable=False),
    Column("quantum_seconds", Float, nullable=False),
    Column("money", Money, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("classical_seconds", Float, nullable=False),
    Column("settled", Boolean, nullable=False),
)

late_results = Table(
    "late_results",
    metadata,
    Column("run_id", ForeignKey("runs.run_id"), primary_key=True),
    Column("job_id", ForeignKey("jobs.job_id"), nullable=False, index=True),
    Column("late", Text, nullable=False),
    Column("objective", Float),
    Column("served_objective", Float),
    Column("difference", Float),
    Column("comparison", Words),
)

transitions = Table(
    "transitions",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("state", Words, nullable=False),
    Column("at", Moment, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("rung", Words, nullable=False),
    Column("outcome", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("layer", Words),
    Column("run_id", Words),
    Column("objective", Float),
)

timings = Table(
    "timings",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("layer", Words, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("rung", Words),
)

approvals = Table(
    "approvals",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("verdict", Words, nullable=False),
    Column("decided_by", Words, nullable=False),
    Column("at", Moment, nullable=False),
    Column("why", Words, nullable=False),
    Column("quantum_seconds", Float),
    Column("money", Money),
    Column("refused", Words, nullable=False),
)
"""One row for each decision of a person; ``refused`` is empty where it counted."""

lineage = Table(
    "lineage",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id"), primary_key=True),
    Column("input_sha256", Words),
    Column("dataset", Words),
    Column("experiment", Words),
    Column("template", Words),
    Column("environment", Words),
    Column("policy_version", Words),
    Column("formulation", Words),
    Column("preprocessing", Words),
    Column("postprocessing", Words),
    Column("variables", BigInteger),
    Column("couplings", BigInteger),
    Column("qubits", BigInteger),
    Column("parameter_sets", BigInteger),
    Column("shots", BigInteger),
    Column("encoded_bytes", BigInteger),
    Column("payload_bytes", BigInteger),
    Column("measurements", BigInteger),
    Column("transpiler", Text),
    Column("calibration", Text),
    Column("partial", Text),
    Column("machine", Text),
    Column("circuit_backend", Words),
    Column("circuit_calibration_id", Words),
    Column("circuit_qubits", BigInteger),
    Column("circuit_depth", BigInteger),
    Column("circuit_two_qubit_gates", BigInteger),
    Column("circuit_layout", Text),
    Column("circuit_seed_transpiler", BigInteger),
    Column("circuit_optimization_level", BigInteger),
    Column("circuit_sha256", Words),
    Column("seed", BigInteger),
    Column("software", Text),
    Index("ix_lineage_input_sha256", "input_sha256"),
)
"""What an answer was made of; ``circuit_…`` is the compiled circuit of the answering run."""

job_artefacts = Table(
    "job_artefacts",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id"), primary_key=True),
    Column("sha256", String(64), primary_key=True, index=True),
    Column("size", BigInteger, nullable=False),
    Column("media", Words, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("id", Words, nullable=False, unique=True),
    Column("at", Moment, nullable=False),
    Column("who", Words, nullable=False),
    Column("verified", Boolean, nullable=False),
    Column("action", Words, nullable=False),
    Column("tenant", Words),
    Column("subject", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ix_audit_tenant_number", "tenant", "number"),
    Index("ix_audit_subject_number", "subject", "number"),
)
"""Append-only: triggers refuse any change."""
