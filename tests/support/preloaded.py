"""What the fork server imports, so that no forked worker has to.

A worker imports what its roles need when it needs it. Here that is everything, and each of hundreds
of forked workers would take a second of CPU time for it.
"""

from __future__ import annotations

import gc
import inspect
import pkgutil
from importlib import import_module

from qiskit.transpiler.preset_passmanagers.plugin import PassManagerStagePluginManager

import activities
import adapters
import qsaga.problems

LAZY = (
    "aiosqlite",
    "openqasm3.parser",
    "qiskit_aer",
    "qiskit_ibm_runtime",
    "qiskit_qasm3_import",
    "tests.chaos.hooks",
    # Each fork runs the main module of the campaign again, which imports these.
    "rich.console",
    "rich.table",
    "tests.chaos.playing",
    "tests.chaos.traffic",
)
for package in (activities, adapters, qsaga.problems):
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        import_module(found.name)
for name in LAZY:
    import_module(name)
# Qiskit loads the plugins of all installed packages with the first circuit that it compiles.
PassManagerStagePluginManager()
# IBM's client looks at the call stack with each request; the first time that reads every module.
inspect.stack()
# What is here now stays: a fork that looks for garbage in it would copy every page of it.
gc.collect()
gc.freeze()
