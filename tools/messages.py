"""Which messages cross from one process to another, or lie in the database: found in the code."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import typing
from abc import ABC
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import qsaga.core
from qsaga.core.contract import Contract
from qsaga.core.identity import Caller
from qsaga.core.seals import SealCheck, SealedSignal
from tools.schemas import CONTRACTS
from workflows.registered import WORKFLOWS

ROOT = Path(__file__).parent.parent
STORES = ("adapters/sql", "qsaga/problems")
"""Where JSON is read that an earlier version may have written."""
BY_NAME = (Caller, SealCheck, SealedSignal)
"""Of the interceptor: its steps are called by name and have no contract class."""
READ = re.compile(r"\b(\w+)\.model_validate_json")

Hints = dict[str, Any]


def modules() -> list[Any]:
    """The modules of ``qsaga.core``, all of them imported."""
    found = pkgutil.iter_modules(qsaga.core.__path__, "qsaga.core.")
    return [importlib.import_module(module.name) for module in found]


def steps() -> dict[str, Hints]:
    """The signature of each activity, by its name."""
    return {name: _hints(method) for name, method in step_contracts().items()}


def step_contracts() -> dict[str, Callable[..., Any]]:
    """The method of each activity's contract, by the activity's name."""
    return {
        defined.name: method
        for module in modules()
        for kind in vars(module).values()
        # Whether it is a subclass would be asked of every abstract class there is.
        if inspect.isclass(kind) and ABC in kind.__mro__
        for method in vars(kind).values()
        if (defined := getattr(method, "__temporal_activity_definition", None)) is not None
    }


def handlers() -> dict[tuple[str, str], Hints]:
    """The signatures of workflows: by workflow, and ``run`` or signal, update or query."""
    found: dict[tuple[str, str], Hints] = {}
    for kind in WORKFLOWS:
        defined: Any = vars(kind)["__temporal_workflow_definition"]
        found[str(defined.name), "run"] = typing.get_type_hints(defined.run_fn)
        for table in (defined.signals, defined.updates, defined.queries):
            for name, handler in table.items():
                found[str(defined.name), str(name)] = _hints(handler.fn)
    return found


def _hints(function: Callable[..., Any]) -> Hints:
    return typing.get_type_hints(function)


def stored() -> set[type[Contract]]:
    """What is read back from where it was written down."""
    named = {
        name
        for folder in STORES
        for path in (ROOT / folder).rglob("*.py")
        for name in READ.findall(path.read_text())
    }
    # Those of adapters are their own affair, and are found only where somebody has imported them.
    ours = (kind for kind in _all() if kind.__module__.startswith("qsaga."))
    return {kind for kind in ours if kind.__name__ in named}


def messages() -> dict[str, type[Contract]]:
    """Every contract that crosses or lies somewhere, and every one inside of those, by name."""
    hints = [hint for table in (*steps().values(), *handlers().values()) for hint in table.values()]
    roots = {kind for hint in hints for kind in contracts_in(hint)}
    todo: list[type[Contract]] = [*roots, *stored(), *BY_NAME, *CONTRACTS]
    found: dict[str, type[Contract]] = {}
    while todo:
        kind = todo.pop()
        if found.setdefault(kind.__name__, kind) is not kind:
            raise AssertionError(f"two contracts are called {kind.__name__}")
        inside = {k for field in kind.model_fields.values() for k in contracts_in(field.annotation)}
        todo += inside - set(found.values())
    return dict(sorted(found.items()))


def contracts_in(hint: Any) -> Iterator[type[Contract]]:
    """The contracts that a type names."""
    if inspect.isclass(hint) and issubclass(hint, BaseModel):
        if not issubclass(hint, Contract):
            raise AssertionError(f"{hint} is no contract")
        yield hint
    for part in typing.get_args(hint):
        yield from contracts_in(part)


def _all(kind: type[Contract] = Contract) -> Iterator[type[Contract]]:
    modules()
    for below in kind.__subclasses__():
        yield below
        yield from _all(below)
