"""The job table behind the port ``JobRecords``: SQLite, or PostgreSQL by its URL."""

from adapters.sql._records import SqlJobRecords

__all__ = ["SqlJobRecords"]
