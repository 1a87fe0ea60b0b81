"""The demonstration: six scenes on real servers, a table, a report. ``python -m tools.demo``."""
