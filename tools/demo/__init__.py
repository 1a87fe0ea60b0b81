"""The demonstration: nine scenes on real servers, a table, a report. ``python -m tools.demo``."""
