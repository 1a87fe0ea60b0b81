"""Readers of knapsacks: CSV, OR-Library's mknap form and Pisinger's."""

from __future__ import annotations

from typing import Any

from qsaga.problems.reading import FileFormat, Source, count
from qsaga.problems.sheets import Numbers, looks_like, sheet, whole


def _csv(source: Source, _problem: str) -> dict[str, Any]:
    found = sheet(source)
    rows = [
        [name, source.value(line, value), whole(source, line, weight, 1)]
        for line, (name, value, weight) in found.columns("name", "value", "weight")
    ]
    line, text = found.required("capacity", "the weight limit")
    return {"items": rows, "capacity": whole(source, line, text)}


def _mknap(source: Source, _problem: str) -> dict[str, Any]:
    numbers = Numbers(source)
    problems = numbers.whole("the number of test problems", 1)
    if problems != 1:
        raise source.wrong(numbers.line, f"{problems} test problems", "a file with one")
    count = numbers.whole("the number of items", 1)
    limits = numbers.whole("the number of constraints", 1)
    if limits != 1:
        raise source.wrong(
            numbers.line, f"{limits} constraints", "one: a knapsack has one weight limit"
        )
    numbers.value("the value of the optimum, or 0")
    values = [numbers.value("the values of the items") for _ in range(count)]
    weights = [numbers.whole("the weights of the items", 1) for _ in range(count)]
    capacity = numbers.whole("the capacity")
    numbers.end()
    rows = zip(range(1, count + 1), values, weights, strict=True)
    return {"items": [[str(i), value, weight] for i, value, weight in rows], "capacity": capacity}


def _like_mknap(source: Source) -> bool:
    words = source.text.split()
    # One problem, n items, one constraint: five numbers beside the values and the weights.
    head = words[:3]
    return (
        len(words) > 5
        and head[0] == head[2] == "1"
        and (items := count(head[1])) is not None
        and len(words) == 5 + 2 * items
    )


def _pisinger(source: Source, _problem: str) -> dict[str, Any]:
    lines = list(source.lines(""))
    head: dict[str, tuple[int, str]] = {}
    for line, words in lines[1:5]:
        if len(words) != 2:
            raise source.wrong(line, " ".join(words), "`n`, `c`, `z` and `time`, each with a value")
        head[words[0]] = (line, words[1])
    if not {"n", "c"} <= set(head):
        raise source.wrong(1, "no `n` or `c` after the name", "n items, c capacity, z, time")
    items: list[list[Any]] = []
    for line, words in lines[5:]:
        # Several instances stand in one file, each ended by a line of dashes.
        if set(words[0]) == {"-"}:
            break
        parts = words[0].split(",")
        if len(words) != 1 or len(parts) != 4:
            raise source.wrong(line, " ".join(words), "index,value,weight,chosen")
        items.append([parts[0], source.value(line, parts[1]), whole(source, line, parts[2], 1)])
    if any("-" not in words[0] for _, words in lines[6 + len(items) :]):
        raise source.wrong(lines[6 + len(items)][0], "another instance", "a file with one")
    if len(items) != whole(source, *head["n"], 1):
        raise source.wrong(head["n"][0], f"n is {head['n'][1]}, but {len(items)} items follow")
    return {"items": items, "capacity": whole(source, *head["c"])}


CSV = FileFormat(
    "knapsack-csv",
    "CSV with the columns `name`, `value`, `weight`, and a line `# capacity: …`",
    "knapsack",
    _csv,
    (".csv",),
    lambda source: looks_like(source, "name", "value", "weight"),
)
MKNAP = FileFormat(
    "mknap",
    "`1`, `n 1 optimum`, n values, n weights, the capacity (OR-Library's mknap form with one "
    "constraint)",
    "knapsack",
    _mknap,
    (".mknap",),
    _like_mknap,
)
PISINGER = FileFormat(
    "pisinger",
    "a name, `n …`, `c …`, `z …`, `time …`, then lines `index,value,weight,chosen` (the knapPI "
    "files of Pisinger)",
    "knapsack",
    _pisinger,
    (".knappi",),
    lambda source: source.text.startswith("knapPI"),
)
