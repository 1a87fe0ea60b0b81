"""The report as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tools.demo.charts import histogram, timeline
from tools.demo.table import cells, complaints

if TYPE_CHECKING:
    from tools.demo.director import Play
    from tools.demo.scenes import Scene

COLUMNS = (
    "",
    "scene",
    "route and why",
    "state",
    "answer",
    "best known",
    "source",
    "queue",
    "run",
    "cost",
    "remote jobs charged",
)
NUMBERS = frozenset({4, 5, 7, 8, 9, 10})

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1b2430; --soft: #5d6b7c; --line: #dfe4ea;
  --good: #1a7f4b; --bad: #c2323a; --warn: #a15c00;
  --prepare: #a9b4c2; --queue: #f0b354; --hardware: #4269d0; --annealing: #3ca98a; --check: #b08fd8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1a2029; --ink: #e6ebf2; --soft: #97a4b5; --line: #2d3643;
    --good: #4cc38a; --bad: #ff7b82; --warn: #f0b354;
    --prepare: #56616f; --queue: #c98a2b; --hardware: #6d8ef0; --annealing: #45b596;
    --check: #9a78c4;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 2.5rem 1.25rem 4rem; background: var(--page);
  color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; letter-spacing: -.01em; }
h2 { font-size: 1.1rem; margin: 0 0 .2rem; }
h3 { font-size: .95rem; margin: 1.3rem 0 .35rem; }
p { margin: .25rem 0; }
.soft { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 1.15rem 1.3rem 1.25rem; margin-top: 1.1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; }
th { text-align: left; font-weight: 600; color: var(--soft); padding: .35rem .6rem; }
td { padding: .5rem .6rem; border-top: 1px solid var(--line); vertical-align: top; }
td.route { min-width: 15rem; white-space: pre-line; }
td.name { min-width: 9rem; }
th { vertical-align: bottom; } th.n { white-space: normal; max-width: 6.5rem; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.pill { display: inline-block; padding: 0 .55rem; border-radius: 999px; font-size: .8rem;
  border: 1px solid currentColor; white-space: nowrap; }
.good, .completed { color: var(--good); } .bad, .failed, .timed_out { color: var(--bad); }
.degraded { color: var(--warn); }
ul.claims { list-style: none; margin: .5rem 0 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: .15rem 1.1rem; font-size: .85rem; }
svg { display: block; width: 100%; min-width: 620px; height: auto; }
svg text { fill: var(--ink); font: 11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
svg text.soft { fill: var(--soft); }
svg [class^="on-"] { fill: #fff; font-weight: 600; }
svg text.on-queue { fill: #2a1c00; } svg text.on-prepare { fill: var(--ink); }
svg .grid { stroke: var(--line); } svg .mark { stroke: var(--bad); stroke-width: 1.5; }
svg text.mark { fill: var(--bad); stroke: none; }
svg .budget { stroke: var(--soft); stroke-dasharray: 4 3; }
.prepare { fill: var(--prepare); } .queue { fill: var(--queue); } .check { fill: var(--check); }
.hardware { fill: var(--hardware); } .annealing { fill: var(--annealing); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .83rem;
  color: var(--soft); margin: .8rem .2rem 0; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 3px;
  margin-right: .4rem; vertical-align: -1px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1.5rem; }
.pair svg { min-width: 0; }
"""

LEGEND = {
    "prepare": "decide, encode, compile, submit",
    "queue": "waiting in the queue",
    "hardware": "running on hardware",
    "annealing": "annealing",
    "check": "verifying",
}


def page(scenes: Sequence[Scene]) -> str:
    """The whole document."""
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    wrong = complaints(scenes)
    claims = [claim for scene in scenes for play in scene.plays for claim in play.claims]
    kept = sum(claim.holds for claim in claims)
    verdict = (
        f'<span class="bad">{len(wrong)} not as claimed</span>'
        if wrong
        else f'<span class="good">all {kept} claims hold</span>'
    )
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>qsaga: nine scenes</title><style>{STYLE}</style></head><body>"
        "<h1>qsaga: nine scenes on real servers</h1>"
        f'<p class="soft">{made} · a Temporal server, a worker and IBM’s own client against an '
        f"emulated quantum cloud on loopback · {verdict}</p>"
        f"{_complaints(wrong)}{_table(scenes)}{_legend()}"
        f"{''.join(_scene(scene) for scene in scenes)}{_histograms(scenes)}{_software(scenes)}"
        "</body></html>\n"
    )


def _complaints(wrong: Sequence[str]) -> str:
    if not wrong:
        return ""
    items = "".join(f"<li>{_e(text)}</li>" for text in wrong)
    return f'<div class="card bad"><ul>{items}</ul></div>'


def _table(scenes: Sequence[Scene]) -> str:
    head = "".join(
        f'<th class="{"n" if index in NUMBERS else ""}">{name}</th>'
        for index, name in enumerate(COLUMNS)
    )
    body = "".join(_row(play) for scene in scenes for play in scene.plays)
    return (
        f'<div class="card wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _legend() -> str:
    items = "".join(
        f'<span><i style="background:var(--{name})"></i>{words}</span>'
        for name, words in LEGEND.items()
    )
    return f'<div class="legend">{items}</div>'


def _row(play: Play) -> str:
    mark, name, route, state, *rest = cells(play)
    found = [
        f'<td class="{"good" if play.ok else "bad"}">{mark}</td>',
        f'<td class="name">{_e(name)}</td>',
        f'<td class="route">{_e(route)}</td>',
        f'<td><span class="pill {_e(state)}">{_e(state)}</span></td>',
    ]
    for index, cell in enumerate(rest, start=len(found)):
        found.append(f'<td class="{"n" if index in NUMBERS else ""}">{_e(cell)}</td>')
    return f"<tr>{''.join(found)}</tr>"


def _scene(scene: Scene) -> str:
    plays = "".join(_play(play) for play in scene.plays)
    failure = f'<p class="bad">{_e(scene.failure)}</p>' if scene.failure else ""
    about = (scene.act.__doc__ or "").strip()
    return (
        f'<section class="card"><h2>{scene.number}. {_e(scene.title)}</h2>'
        f'<p class="soft">{_e(about)}</p>{failure}{plays}</section>'
    )


def _play(play: Play) -> str:
    claims = "".join(
        f'<li><span class="{"good" if claim.holds else "bad"}">{"✓" if claim.holds else "✗"}</span>'
        f" {_e(claim.text)}{'' if claim.holds else f' ({_e(claim.seen)})'}</li>"
        for claim in play.claims
    )
    remarks = "".join(f'<p class="soft">{_e(remark)}</p>' for remark in play.remarks)
    return (
        f'<h3>{_e(play.title)}</h3>{remarks}<div class="wide">{timeline(play)}</div>'
        f'<ul class="claims">{claims}</ul>'
    )


def _histograms(scenes: Sequence[Scene]) -> str:
    """For each problem that both answered: hardware's samples against annealing's."""
    plays = [play for scene in scenes for play in scene.plays if play.histogram is not None]
    charts = []
    for title in dict.fromkeys(play.title for play in plays):
        same = [play for play in plays if play.title == title]
        hardware = next((play for play in same if play.source == "hardware"), None)
        annealing = next((play for play in same if play.source == "annealing"), None)
        if hardware and annealing:
            charts.append(f"<div><h3>{_e(title)}</h3>{histogram(hardware, annealing)}</div>")
    if not charts:
        return ""
    return (
        '<section class="card"><h2>Energies: hardware against annealing</h2>'
        '<p class="soft">Objective of every feasible sample as measured, before any polish, as a '
        "share of those samples; the dashed line is the best known value.</p>"
        f'<div class="pair">{"".join(charts)}</div><div class="legend">'
        '<span><i style="background:var(--hardware)"></i>hardware (QAOA)</span>'
        '<span><i style="background:var(--annealing)"></i>annealing</span></div></section>'
    )


def _software(scenes: Sequence[Scene]) -> str:
    for scene in scenes:
        for play in scene.plays:
            if play.result and play.result.provenance:
                used = play.result.provenance.software.items()
                words = ", ".join(f"{name} {version}" for name, version in used)
                return f'<p class="soft" style="margin-top:1.5rem">{_e(words)}</p>'
    return ""


def _e(text: str) -> str:
    return html.escape(text)
