"""What Alembic runs: the revisions, on the connection and in the transaction of ``migrate``."""

from __future__ import annotations

from alembic import context

from adapters.sql._engine import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
