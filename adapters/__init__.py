"""One file for each outside system, behind a port of ``qsaga/core/ports.py``."""
