"""Reader of data for feature selection: columns of numbers and a target."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from qsaga.problems.reading import FileFormat, Source
from qsaga.problems.sheets import sheet, whole


def _csv(source: Source, _problem: str) -> dict[str, Any]:
    found = sheet(source)
    line, text = found.required("choose", "the number of features")
    choose = whole(source, line, text, 1)
    head_line, head = found.head
    target_line, target = found.setting("target") or (head_line, head[-1])
    if target not in head:
        raise source.wrong(target_line, f"no column {target!r}", ", ".join(head))
    if len(found.rows) < 2:
        raise source.wrong(found.rows[0][0], "one row of data", "at least two")
    data = np.array([[source.value(line, word) for word in row] for line, row in found.rows])
    for name, column in zip(head, data.T, strict=True):
        if np.all(column == column[0]):
            raise source.wrong(
                head_line, f"column {name!r} has the same value everywhere", "values that differ"
            )
    # By a power of two, which rounds nothing: squares of 1e200 are infinite, of 1e-200 they are 0.
    scaled = np.ldexp(data, -np.frexp(np.abs(data).max(axis=0))[1])
    strength = np.abs(np.corrcoef(scaled, rowvar=False)).round(12)
    goal = head.index(target)
    features = [place for place in range(len(head)) if place != goal]
    return {
        "features": [[head[i], float(strength[i, goal])] for i in features],
        "redundancy": [
            [head[i], head[j], float(strength[i, j])]
            for place, j in enumerate(features)
            for i in features[:place]
        ],
        "choose": choose,
    }


def _like_csv(source: Source) -> bool:
    # A column of dates comes first in a portfolio's returns, which may say what to choose as well.
    dated = re.search(r"(?im)^\s*date\s*[,;]", source.text) is not None
    return source.path.suffix.lower() == ".csv" and "# choose:" in source.text and not dated


CSV = FileFormat(
    "features-csv",
    "CSV with a column of numbers for each feature, the target in the last or in the one that a "
    "line `# target: …` names, and a line `# choose: …`; relevance and redundancy become the "
    "magnitudes of Pearson's correlations",
    "feature_selection",
    _csv,
    (".csv",),
    _like_csv,
)
