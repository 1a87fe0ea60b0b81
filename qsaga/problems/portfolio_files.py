"""Readers of portfolios: OR-Library's form, and returns as comma-separated values."""

from __future__ import annotations

from typing import Any

import numpy as np

from qsaga.problems.reading import FileFormat, Source, count
from qsaga.problems.sheets import Numbers, Sheet, sheet, whole

USUAL = 10
"""Assets to choose where a file does not say it, as Chang et al. 2000 do for OR-Library's."""


MOST_RETURN = 1e6
"""Magnitude of a return, as that of the mean that a problem may have."""


def _orlib(source: Source, _problem: str) -> dict[str, Any]:
    numbers = Numbers(source)
    size = numbers.whole("the number of assets", 1)
    assets: list[list[Any]] = []
    for index in range(1, size + 1):
        what = f"mean and standard deviation of {size} assets"
        assets.append([str(index), numbers.value(what), numbers.value(what)])
        if assets[-1][2] < 0:
            raise source.wrong(numbers.line, f"standard deviation {assets[-1][2]:g}", "0 or more")
    found: dict[frozenset[int], float] = {}
    for _ in range(size * (size + 1) // 2):
        pair = [numbers.place("i j correlation for each pair", size) for _ in range(2)]
        value = numbers.value("a correlation")
        if not -1 <= value <= 1:
            raise source.wrong(numbers.line, f"correlation {value:g}", "-1 to 1")
        if frozenset(pair) in found:
            pair_text = f"{pair[0]} {pair[1]}"
            raise source.wrong(numbers.line, f"{pair_text} was already given", "each pair once")
        found[frozenset(pair)] = value
    numbers.end()
    places = range(1, size + 1)
    return {
        "assets": assets,
        "correlation": [[found[frozenset((i, j))] for j in places] for i in places],
        "choose": min(USUAL, size),
    }


def _like_orlib(source: Source) -> bool:
    rows = [words for _, words in source.lines("")]
    size = count(rows[0][0]) if rows and len(rows[0]) == 1 else None
    if not size or len(rows) != 1 + size + (pairs := size * (size + 1) // 2):
        return False
    return [len(words) for words in rows[1:]] == [2] * size + [3] * pairs


def _returns(source: Source, _problem: str) -> dict[str, Any]:
    found = sheet(source)
    line, head = found.head
    if head[0].lower() != "date" or len(head) < 2:
        raise source.wrong(line, f"header {', '.join(head)}", "date, then a column for each asset")
    if len(found.rows) < 2:
        raise source.wrong(line, f"{len(found.rows)} dates", "at least 2, for a covariance")
    returns = np.array(
        [[_return(source, number, word) for word in words[1:]] for number, words in found.rows]
    )
    means = returns.mean(axis=0)
    covariance = np.atleast_2d(np.cov(returns, rowvar=False))
    return {
        "assets": [[name, float(mean)] for name, mean in zip(head[1:], means, strict=True)],
        "covariance": covariance.tolist(),
        "choose": min(USUAL, len(means)),
        **_settings(found),
    }


def _return(source: Source, line: int, word: str) -> float:
    value = source.value(line, word)
    if abs(value) > MOST_RETURN:
        raise source.wrong(line, f"return {word}", f"a magnitude up to {MOST_RETURN:g}")
    return value


def _settings(found: Sheet) -> dict[str, Any]:
    """What comment lines say of the portfolio. Raises InvalidRequest."""
    said: dict[str, Any] = {}
    counts = ("choose", "units", "most")
    allowed = (*counts, "risk_aversion")
    for name, lines in found.settings.items():
        if name not in allowed:
            raise found.source.wrong(lines[0][0], f"{name!r} cannot be set", ", ".join(allowed))
    for name in counts:
        if given := found.setting(name):
            said[name] = whole(found.source, *given, 1)
    if given := found.setting("risk_aversion"):
        said["risk_aversion"] = found.source.value(*given)
    return said


def _like_returns(source: Source) -> bool:
    lines = (line.strip().lower() for line in source.text.splitlines())
    head = next((line for line in lines if line and not line.startswith("#")), "")
    return source.path.suffix.lower() == ".csv" and head.startswith(("date,", "date;"))


ORLIB_PORTFOLIO = FileFormat(
    "orlib-portfolio",
    "n, then mean and standard deviation of each asset, then `i j correlation` for each pair "
    f"(OR-Library, port1 to port5); {USUAL} assets to choose",
    "portfolio",
    _orlib,
    recognises=_like_orlib,
)
RETURNS_CSV = FileFormat(
    "returns-csv",
    "CSV with a column date and one of returns for each asset; `# choose: 5`, `# units: 10`, "
    f"`# most: 3` and `# risk_aversion: 0.5` may stand above, else {USUAL} assets are chosen",
    "portfolio",
    _returns,
    (".csv",),
    _like_returns,
)
