"""What is kept in SQL, in SQLite or PostgreSQL: job records, audit log, budgets."""

from adapters.sql._audit import SqlAuditLog
from adapters.sql._engine import open_engine
from adapters.sql._ledger import SqlLedger
from adapters.sql._migrate import migrate
from adapters.sql._records import SqlJobRecords

__all__ = ["SqlAuditLog", "SqlJobRecords", "SqlLedger", "migrate", "open_engine"]
