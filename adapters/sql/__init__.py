"""What is kept in SQL, in SQLite or PostgreSQL: job records, audit log, budgets."""

from adapters.sql._audit import SqlAuditLog
from adapters.sql._engine import Moment, make_safe, open_engine
from adapters.sql._ledger import SqlLedger
from adapters.sql._loops import SqlLoopRecords
from adapters.sql._migrate import migrate
from adapters.sql._records import SqlJobRecords
from adapters.sql._sessions import SqlSessionRecords
from adapters.sql._submissions import SqlSubmissions

__all__ = [
    "Moment",
    "SqlAuditLog",
    "SqlJobRecords",
    "SqlLedger",
    "SqlLoopRecords",
    "SqlSessionRecords",
    "SqlSubmissions",
    "make_safe",
    "migrate",
    "open_engine",
]
