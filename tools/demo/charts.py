"""Timelines and histograms as inline SVG."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from qsaga.core.results import Histogram
from qsaga.core.states import JobState

if TYPE_CHECKING:
    from tools.demo.director import Play, Remote

WIDTH = 1000.0
LEFT = 92.0
RIGHT = 16.0
LANE = 24.0
GAP = 9.0
HEAD = 36.0
"""Two lines of labels above the lanes: neighbours in time take turns."""
TICKS = 10
LETTER = 6.2
"""Width of a letter, about: a label that does not fit its bar is left out."""

PHASE = {
    JobState.QUEUED: "queue",
    JobState.RUNNING: "hardware",
    JobState.POSTPROCESSING: "check",
}


class Bar(NamedTuple):
    """A stretch of time on a lane, seconds from the start of the job."""

    start: float
    end: float
    phase: str
    label: str


def timeline(play: Play) -> str:
    """The job, its remote jobs, and what happened to them, over time."""
    if play.result is None or not play.result.transitions:
        return ""
    zero = play.result.transitions[0].at.timestamp()
    lanes = [("job", list(_job(play, zero)))]
    lanes += [("remote job", list(_remote(job, zero))) for job in play.remote]
    marks = [(at - zero, label) for at, label in play.marks]
    end = max([bar.end for _, bars in lanes for bar in bars] + [at for at, _ in marks]) * 1.02
    scale = (WIDTH - LEFT - RIGHT) / max(end, 0.1)

    def x(seconds: float) -> float:
        return LEFT + max(0.0, seconds) * scale

    top = HEAD if marks else 4.0
    bottom = top + len(lanes) * (LANE + GAP)
    parts = list(_axis(end, x(0), scale, top, bottom))
    for index, (name, bars) in enumerate(lanes):
        y = top + index * (LANE + GAP)
        parts.append(f'<text x="{LEFT - 10}" y="{y + 16:.0f}" text-anchor="end">{name}</text>')
        parts += [_rect(bar, x(bar.start), x(bar.end), y) for bar in bars]
    for index, (at, label) in enumerate(marks):
        y = 12 + 15 * (index % 2)
        parts.append(
            f'<line class="mark" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{y - 10}" y2="{bottom}"/>'
            f'<text class="mark" x="{x(at) + 4:.1f}" y="{y}">{html.escape(label)}</text>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {bottom + 20:.0f}" role="img" '
        f'aria-label="Timeline of {html.escape(play.title)}">{"".join(parts)}</svg>'
    )


def _job(play: Play, zero: float) -> Iterator[Bar]:
    steps = play.result.transitions if play.result else ()
    back = max((i for i, s in enumerate(steps) if s.state is JobState.ENCODED), default=0)
    for index, (step, after) in enumerate(itertools.pairwise(steps)):
        phase = PHASE.get(step.state, "prepare")
        label = step.state.value
        # The last rung is the one that answered; what comes before it was hardware.
        if phase == "hardware" and play.source == "annealing" and index > back:
            phase = label = "annealing"
        yield Bar(step.at.timestamp() - zero, after.at.timestamp() - zero, phase, label)


def _remote(job: Remote, zero: float) -> Iterator[Bar]:
    finished = job["finished"] or job["due"] or job["created"]
    started = job["running"] or finished
    cancelled = job["state"] == "Cancelled"
    waiting = "queued, then cancelled: nothing charged" if cancelled else "queued"
    yield Bar(job["created"] - zero, started - zero, "queue", waiting)
    if job["running"]:
        label = f"{job['state'].lower()}, {job['charged_seconds']:g} s charged"
        yield Bar(started - zero, finished - zero, "hardware", label)


def _rect(bar: Bar, left: float, right: float, y: float) -> str:
    width = max(right - left, 1.0)
    title = f"{bar.label}: {bar.start:.2f} s to {bar.end:.2f} s"
    fits = len(bar.label) * LETTER + 12 < width
    label = html.escape(bar.label) if fits else ""
    words = f'<text class="on-{bar.phase}" x="{left + 6:.1f}" y="{y + 16:.0f}">{label}</text>'
    return (
        f'<g><title>{html.escape(title)}</title><rect class="{bar.phase}" x="{left:.1f}" '
        f'y="{y:.0f}" width="{width:.1f}" height="{LANE:.0f}" rx="3"/>{words}</g>'
    )


def _axis(end: float, left: float, scale: float, top: float, bottom: float) -> Iterator[str]:
    step = _round_step(end / TICKS)
    for index in range(math.floor(end / step) + 1):
        at = left + index * step * scale
        yield (
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{top - 2:.0f}" y2="{bottom:.0f}"/>'
            f'<text class="soft" x="{at:.1f}" y="{bottom + 13:.0f}" text-anchor="middle">'
            f"{index * step:g} s</text>"
        )


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(max(least, 1e-9)))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * 0.999)


# --- histogram ---------------------------------------------------------------------------------

PLOT_WIDTH, PLOT_HEIGHT = 460.0, 190.0
PLOT_LEFT, PLOT_BOTTOM, PLOT_TOP = 40.0, 24.0, 16.0


def histogram(hardware: Play, annealing: Play) -> str:
    """Shares of the samples by objective, side by side."""
    series = [
        ("hardware", _shares(hardware.histogram)),
        ("annealing", _shares(annealing.histogram)),
    ]
    places = sorted({place for _, shares in series for place in shares} | {hardware.best_known})
    widths = [b - a for a, b in itertools.pairwise(places)]
    unit = min(widths, default=1.0)
    low, high = places[0] - unit, places[-1] + unit
    highest = max(share for _, shares in series for share in shares.values())
    scale = (PLOT_WIDTH - PLOT_LEFT) / (high - low)
    floor = PLOT_HEIGHT - PLOT_BOTTOM

    def x(value: float) -> float:
        return PLOT_LEFT + (value - low) * scale

    def y(share: float) -> float:
        return floor - share / highest * (floor - PLOT_TOP)

    parts = [
        f'<line class="grid" x1="{PLOT_LEFT}" x2="{PLOT_WIDTH}" y1="{y(share):.1f}" '
        f'y2="{y(share):.1f}"/><text class="soft" x="{PLOT_LEFT - 6}" y="{y(share) + 4:.1f}" '
        f'text-anchor="end">{share:.0%}</text>'
        for share in (0.0, highest / 2, highest)
    ]
    thick = min(unit * scale * 0.4, 22.0)
    for index, (name, shares) in enumerate(series):
        for place, share in shares.items():
            left = x(place) - thick + index * thick
            parts.append(
                f'<rect class="{name}" x="{left:.1f}" y="{y(share):.1f}" width="{thick - 1:.1f}" '
                f'height="{floor - y(share):.1f}" rx="2"><title>{name}: {share:.1%} at {place:g}'
                "</title></rect>"
            )
    every = max(1, round(len(places) / 12))
    parts += [
        f'<text class="soft" x="{x(place):.1f}" y="{PLOT_HEIGHT - 8}" text-anchor="middle">'
        f"{place:g}</text>"
        for place in places[::every]
    ]
    best = x(hardware.best_known)
    parts.append(f'<line class="budget" x1="{best:.1f}" x2="{best:.1f}" y1="4" y2="{floor:.1f}"/>')
    return (
        f'<svg viewBox="0 0 {PLOT_WIDTH:.0f} {PLOT_HEIGHT:.0f}" role="img" '
        f'aria-label="Histogram of {html.escape(hardware.title)}">{"".join(parts)}</svg>'
    )


def _shares(found: Histogram | None) -> dict[float, float]:
    if found is None:
        return {}
    total = sum(found.counts) or 1
    middles = [(a + b) / 2 for a, b in zip(found.edges, found.edges[1:], strict=False)]
    return {
        middle: count / total for middle, count in zip(middles, found.counts, strict=False) if count
    }
