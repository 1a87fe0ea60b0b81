"""What a person sees at the terminal: live progress, then one table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from tools.demo.director import Play
    from tools.demo.scenes import Scene

NARROWEST = 150
"""Columns of the table where the output is no terminal."""
TAIL = 4
"""Notes shown below a running scene."""


class Board:
    """Live progress: a moving list on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()
        self._done: list[Text] = []
        self._title = ""
        self._notes: list[str] = []
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=8, transient=True
        )

    def begin(self, title: str) -> None:
        """Something starts that takes a while."""
        self._title, self._notes, self._started = title, [], time.monotonic()
        if not self.console.is_terminal:
            self._line(title)

    def note(self, text: str) -> None:
        """Something happened."""
        if self._notes[-1:] == [text]:
            return
        self._notes.append(text)
        if not self.console.is_terminal:
            self._line(f"    {text}")

    def end(self, ok: bool, words: str = "") -> None:
        """It is over."""
        mark = Text("✓ " if ok else "✗ ", style="bold green" if ok else "bold red")
        took = f"  {time.monotonic() - self._started:.1f} s"
        line = Text.assemble(mark, self._title, (took, "dim"), (f"  {words}" if words else ""))
        self._done.append(line)
        self._title = ""
        if not self.console.is_terminal:
            self._line(line.plain)

    def _line(self, text: str) -> None:
        self.console.print(
            f"{time.monotonic() - self._began:6.1f} s  {text}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = list(self._done)
        if self._title:
            passed = f"{self._title}  {time.monotonic() - self._started:.0f} s"
            self._spinner.update(text=Text(passed, style="bold"))
            parts.append(self._spinner)
            parts += [Text(f"    {note}", style="dim") for note in self._notes[-TAIL:]]
        return Group(*parts)

    def __enter__(self) -> Self:
        """Start to show."""
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave what is done on the screen."""
        if self.console.is_terminal:
            self._live.stop()
            self.console.print(Group(*self._done))


def table(scenes: Sequence[Scene]) -> Table:
    """All jobs of all scenes, one row each."""
    shown = Table(title="qsaga, nine scenes on real servers", title_style="bold", pad_edge=False)
    shown.add_column("")
    shown.add_column("scene", overflow="fold", max_width=24)
    shown.add_column("route and why", overflow="fold", min_width=30)
    shown.add_column("state")
    for name in ("answer", "best\nknown"):
        shown.add_column(name, justify="right")
    shown.add_column("source")
    for name in ("queue", "run", "cost", "remote jobs\ncharged"):
        shown.add_column(name, justify="right")
    for scene in scenes:
        for index, play in enumerate(scene.plays):
            last = index == len(scene.plays) - 1
            shown.add_row(*(Text(cell) for cell in cells(play)), end_section=last)
    return shown


def cells(play: Play) -> tuple[str, ...]:
    """One row: mark, scene, route and why, state, answer, … as text."""
    route = play.decision.wanted.value if play.decision else "-"
    return (
        "✓" if play.ok else "✗",
        play.name,
        "\n".join([f"{route}: {play.route_reason or '-'}", *(f"({r})" for r in play.remarks)]),
        play.state or "-",
        "-" if play.answer is None else f"{play.answer:g}",
        f"{play.best_known:g}",
        play.source or "-",
        _seconds(play.queue_seconds),
        _seconds(play.run_seconds),
        play.cost,
        f"{len(play.charged)} of {len(play.remote)}",
    )


def complaints(scenes: Sequence[Scene]) -> list[str]:
    """Every claim that does not hold, and every scene that did not come to its end."""
    found = []
    for scene in scenes:
        if scene.failure:
            found.append(f"scene {scene.number}: {scene.failure}")
        for play in scene.plays:
            found += [
                f"scene {play.name}: not so: {claim.text}" + (f" ({claim.seen})" * bool(claim.seen))
                for claim in play.claims
                if not claim.holds
            ]
    return found


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
