"""What the documentation says of the code is what the code says.

Tables and diagrams between ``<!-- generated: NAME -->`` and ``<!-- end -->`` are made here;
``python -m tests.core.test_docs`` writes them anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from inspect import getdoc
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from adapters.ibm import ROWS
from qsaga.cli.problems import field_notes
from qsaga.core import errors
from qsaga.core.errors import QsagaError
from qsaga.core.states import FINAL_STATES, TRANSITIONS, JobState
from qsaga.problems import registry
from qsaga.problems.files import formats
from qsaga.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md"), *ROOT.glob("*.md")]
)
BLOCK = re.compile(r"(?s)(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)")
LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")


# --- docs/lifecycle.md -------------------------------------------------------------------------


def lifecycle() -> str:
    """A state diagram. What every state under way may do is drawn once, from their frame."""
    under_way = [state for state in JobState if not state.final and state != JobState.QUARANTINED]
    common = frozenset.intersection(*(TRANSITIONS[state] for state in under_way))
    inner, outer = [], []
    for state in under_way:
        for then in ordered(TRANSITIONS[state] - common):
            line = f"{state.value} --> {then.value}"
            (inner if then in under_way else outer).append(line)
    outer += [f"under_way --> {then.value}" for then in ordered(common)]
    outer += [
        f"quarantined --> {then.value}" for then in ordered(TRANSITIONS[JobState.QUARANTINED])
    ]
    outer += [f"{state.value} --> [*]" for state in ordered(FINAL_STATES)]
    lines = ["stateDiagram-v2", "    [*] --> received", "    state under_way {"]
    lines += [f"        {line}" for line in inner]
    lines += ["    }", *(f"    {line}" for line in outer)]
    return "\n".join(["```mermaid", *lines, "```"])


def transitions() -> str:
    """Which state may follow which, in full."""
    rows = []
    for state in JobState:
        then = ", ".join(f"`{s.value}`" for s in ordered(TRANSITIONS[state]))
        rows.append((f"`{state.value}`", then or "nothing: final"))
    return table(("state", "may be followed by"), rows)


def ordered(states: frozenset[JobState]) -> list[JobState]:
    """In the order of their definition."""
    return [state for state in JobState if state in states]


# --- docs/errors.md ----------------------------------------------------------------------------


def error_tree() -> str:
    """Every error class below QsagaError, indented by its depth."""
    return table(
        ("class", "meaning", "retried", "exit code", "HTTP status"),
        [
            (
                f"{'&nbsp;' * 4 * depth}`{cls.__name__}`",
                (cls.__doc__ or "").strip().splitlines()[0],
                "yes" if cls.retryable else "no",
                str(cls.exit_code),
                str(cls.http_status),
            )
            for depth, cls in tree(QsagaError)
        ],
    )


def tree(cls: type[QsagaError], depth: int = 0) -> Iterator[tuple[int, type[QsagaError]]]:
    """The class and all below it that are part of the contract, parents first."""
    yield depth, cls
    for below in cls.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from tree(below, depth + 1)


# --- docs/provider-errors.md -------------------------------------------------------------------


def ibm_rows() -> str:
    """What the vendor may answer, which error it becomes, and what comes of it."""
    return table(
        (
            "on the wire",
            "any call",
            "a submission that has begun",
            "qsaga",
            "the user sees",
            "kind",
        ),
        [
            (
                row.seen,
                becomes(row.otherwise),
                becomes(row.submission),
                row.does,
                row.user,
                f"`{row.kind.value}`: {row.meaning}",
            )
            for row in ROWS
        ],
    )


def becomes(error: type[QsagaError] | None) -> str:
    """An error, and whether the same call may work later."""
    if error is None:
        return "–"
    if error is errors.Undecided:
        nature = "undecided"
    else:
        nature = "transient" if error.retryable else "permanent"
    return f"{nature}: `{error.__name__}`"


# --- docs/problems.md --------------------------------------------------------------------------


def problem_table() -> str:
    """Every problem in a line."""
    return table(
        ("problem", "what is wanted", "versions", "published", "files"),
        [
            (
                f"[`{kind.name}`](#{kind.name})",
                f"{kind.sense}: {kind.title}",
                f"`{kind.formulation}`, `{kind.decoding}`",
                kind.reference,
                ", ".join(f"`{one.name}`" for one in kind.formats),
            )
            for kind in map(registry.get, registry.names())
        ],
    )


def problem_sections() -> str:
    """Input, formulation and penalties of every problem, as its classes say them."""
    sections = []
    for kind in map(registry.get, registry.names()):
        notes = field_notes(kind.model)
        fields = "\n".join(f"- `{name}`: {notes.get(name, '')}" for name in kind.model.model_fields)
        words = (getdoc(type(kind)) or "").replace("``", "`")
        sections.append(f"### {kind.name}\n\n{words}\n\nInput:\n\n{fields}")
    return "\n\n".join(sections)


def format_table() -> str:
    """Every format of files."""
    return table(
        ("format", "told by", "usually holds", "what it is"),
        [
            (f"`{one.name}`", ", ".join(one.extensions) or "content", f"`{one.problem}`", one.title)
            for one in formats().values()
        ],
    )


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


GENERATED: dict[str, Callable[[], str]] = {
    "lifecycle": lifecycle,
    "transitions": transitions,
    "error-tree": error_tree,
    "ibm-rows": ibm_rows,
    "problem-table": problem_table,
    "problem-sections": problem_sections,
    "format-table": format_table,
}


def with_blocks(text: str) -> str:
    """A page with all its generated blocks as they should be."""
    return BLOCK.sub(lambda found: found[1] + GENERATED[found["name"]]() + "\n" + found[3], text)


# --- tests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_generated_blocks_are_current(page: Path) -> None:
    text = page.read_text()
    assert text == with_blocks(text), "run: python -m tests.core.test_docs"


def test_every_generated_block_is_in_some_page() -> None:
    found = [match["name"] for page in PAGES for match in BLOCK.finditer(page.read_text())]
    assert sorted(found) == sorted(GENERATED)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for found in LINK.finditer(page.read_text()):
        target = found["target"]
        if "://" not in target:
            assert (page.parent / target).exists(), target


def settings(model: type[BaseModel], prefix: str = "QSAGA_") -> Iterator[tuple[str, Any]]:
    """Every variable and its default."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings(kind, f"{prefix}{name.upper()}__")
        else:
            yield prefix + name.upper(), field.default


def test_the_settings_table_is_complete() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = dict(re.findall(r"(?m)^\| `(QSAGA_\w+)` \| ([^|]*) \|", readme))
    known = dict(settings(Settings))
    assert set(rows) == set(known)
    for name, default in known.items():
        shown = rows[name].strip().strip("`")
        if default is None:
            assert shown == "-", name
        elif isinstance(default, bool):
            assert shown == str(default).lower(), name
        elif isinstance(default, int | float):
            assert float(shown) == float(default), name
        elif isinstance(default, str):
            assert shown == default, name


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(with_blocks(path.read_text()))
