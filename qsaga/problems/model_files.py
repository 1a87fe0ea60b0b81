"""Readers of binary quadratic models: dimod's JSON and coo forms, Beasley's sparse form, QPLIB."""

from __future__ import annotations

import math
import re
from itertools import islice
from reprlib import repr as shown
from typing import Any

import dimod

from qsaga.core.errors import InvalidRequest
from qsaga.problems.graph_files import like_gset
from qsaga.problems.reading import LARGEST, MOST_NAMES, FileFormat, Pairs, Source
from qsaga.problems.sheets import Numbers

SAVED = "JSON of dimod's BinaryQuadraticModel.to_serializable()"
SENSES = ("minimize", "maximize")
_VARTYPE = re.compile(r"#.*?vartype[:=]\s*([-\w.]+)")


def _bqm(source: Source, _problem: str) -> dict[str, Any]:
    data = source.json()
    if not isinstance(data, dict) or data.get("type") != "BinaryQuadraticModel":
        raise source.wrong(1, "no binary quadratic model", SAVED)
    if data.get("use_bytes"):
        raise source.wrong(1, "biases as bytes", f"{SAVED}, use_bytes=False")
    _check_vectors(source, data)
    try:
        model = dimod.BinaryQuadraticModel.from_serializable(data)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise source.wrong(1, f"not a model that dimod reads: {error}", SAVED) from error
    names = {label: str(label) for label in model.variables}
    if len(set(names.values())) < len(data["variable_labels"]):
        raise source.bad("variable_labels", "two have the same name as text", "distinct names")
    values = [model.offset, *model.linear.values(), *model.quadratic.values()]
    if not all(math.isfinite(value) for value in values):
        raise source.wrong(1, "the sum of a pair's biases is not finite", "finite numbers")
    return {
        "variables": list(names.values()),
        "linear": {names[label]: float(bias) for label, bias in model.linear.items()},
        "quadratic": [
            [names[u], names[v], float(bias)] for (u, v), bias in model.quadratic.items()
        ],
        "offset": float(model.offset),
        "vartype": model.vartype.name,
    }


def _check_vectors(source: Source, data: dict[str, Any]) -> None:
    """Refuse what dimod would not: it indexes its memory with whatever stands in the file."""
    size = len(_listed(source, data, "variable_labels"))
    places = range(size)
    pairs = len(_listed(source, data, "quadratic_biases"))
    for name, count in (("linear_biases", size), ("quadratic_biases", pairs)):
        for index, value in enumerate(_listed(source, data, name, count)):
            if not _finite(value):
                raise _odd(source, f"{name}.{index}", value, "finite number")
    for name in ("quadratic_head", "quadratic_tail"):
        for index, value in enumerate(_listed(source, data, name, pairs)):
            if type(value) is not int or value not in places:
                raise _odd(source, f"{name}.{index}", value, "index", f"0 to {size - 1}")
    if not _finite(data.get("offset")):
        raise _odd(source, "offset", data.get("offset"), "finite number")


def _listed(source: Source, data: dict[str, Any], name: str, size: int | None = None) -> list[Any]:
    values = data.get(name)
    if not isinstance(values, list):
        raise source.bad(name, "no list", SAVED)
    if size is not None and len(values) != size:
        raise source.bad(name, f"{len(values)} values", f"{size}, as many as the model has")
    return values


def _finite(value: Any) -> bool:
    # JSON's whole numbers may be larger than any float; a bool is an int to isinstance.
    return type(value) in (int, float) and abs(value) <= LARGEST


def _odd(
    source: Source, field: str, value: object, wanted: str, allowed: str = ""
) -> InvalidRequest:
    return source.bad(field, f"{shown(value)} is no {wanted}", allowed or f"a {wanted}")


def _coo(source: Source, _problem: str) -> dict[str, Any]:
    vartype = "BINARY"
    if header := _VARTYPE.search(source.text):
        vartype = header[1].upper()
        line = source.text[: header.start()].count("\n") + 1
        if vartype not in ("BINARY", "SPIN"):
            raise source.wrong(line, f"vartype {header[1]!r}", "BINARY, SPIN")
    linear: dict[str, float] = {}
    quadratic: list[list[Any]] = []
    pairs = Pairs(source)
    for line, words in source.lines():
        if len(words) != 3:
            raise source.wrong(line, f"{len(words)} words", "i j value")
        u, v = (str(source.place(line, word, first=0)) for word in words[:2])
        pairs.add(line, u, v)
        value = source.value(line, words[2])
        if u == v:
            linear[u] = value
        else:
            quadratic.append([u, v, value])
    names = sorted(pairs.names(), key=int)
    if not names:
        raise source.wrong(1, "no entries", "at least one line i j value")
    return {"variables": names, "linear": linear, "quadratic": quadratic, "vartype": vartype}


def _sparse(source: Source, _problem: str) -> dict[str, Any]:
    size, rows = source.counted("entries")
    linear: dict[str, float] = {}
    quadratic: list[list[Any]] = []
    pairs = Pairs(source)
    for line, words in rows:
        u, v = (str(source.place(line, word, size)) for word in words[:2])
        pairs.add(line, u, v)
        value = source.value(line, words[2])
        if u == v:
            linear[u] = value
        else:
            quadratic.append([u, v, 2 * value])
    names = [str(index) for index in range(1, size + 1)]
    return {"variables": names, "linear": linear, "quadratic": quadratic}


def _qplib(source: Source, _problem: str) -> dict[str, Any]:
    numbers = Numbers(source, "#")
    numbers.word("the name of the instance")
    kind = numbers.word("the type of the instance").upper()
    if not re.fullmatch("[LDCQ]B[NB]", kind):
        raise source.wrong(
            numbers.line, f"type {kind}", "binary variables and no constraints, such as QBN"
        )
    sense = numbers.word("minimize or maximize").lower()
    if sense not in SENSES:
        raise source.wrong(numbers.line, f"sense {sense!r}", ", ".join(SENSES))
    size = numbers.whole("the number of variables", 1, MOST_NAMES)
    sign = 1.0 if sense == "minimize" else -1.0
    linear = dict.fromkeys(map(str, range(1, size + 1)), 0.0)
    quadratic: list[list[Any]] = []
    pairs = Pairs(source)
    for _ in range(numbers.whole("the number of quadratic terms") if kind[0] != "L" else 0):
        u, v = (str(numbers.place("i j value of a quadratic term", size)) for _ in range(2))
        pairs.add(numbers.line, u, v)
        value = sign * numbers.value("i j value of a quadratic term")
        # Half of x'Hx: an entry off the diagonal is there twice, one on it once, and x² is x.
        if u == v:
            linear[u] += value / 2
        else:
            quadratic.append([u, v, value])
    _add_vector(numbers, linear, sign)
    offset = sign * numbers.value("the constant of the objective")
    return {
        "variables": list(linear),
        "linear": {name: bias for name, bias in linear.items() if bias},
        "quadratic": quadratic,
        "offset": offset,
    }


def _add_vector(numbers: Numbers, linear: dict[str, float], sign: float) -> None:
    """Add QPLIB's linear terms: a default, and how many differ from it, then those."""
    usual = numbers.value("the default of the linear terms")
    given: dict[str, float] = {}
    for _ in range(numbers.whole("the number of other linear terms")):
        name = str(numbers.place("i value of a linear term", len(linear)))
        if name in given:
            raise numbers.source.wrong(numbers.line, f"a second term of {name}", "each once")
        given[name] = numbers.value("i value of a linear term")
    for name in linear:
        linear[name] += sign * given.get(name, usual)


def _like_bqm(source: Source) -> bool:
    return source.text.lstrip().startswith("{")


def _like_qplib(source: Source) -> bool:
    firsts = [words[0] for _, words in islice(source.lines(), 3)]
    return len(firsts) == 3 and len(firsts[1]) == 3 and firsts[2].lower() in SENSES


def _like_coo(source: Source) -> bool:
    return _VARTYPE.search(source.text) is not None


BQM = FileFormat(
    "bqm",
    "JSON of dimod's `BinaryQuadraticModel.to_serializable()`, binary or spin",
    "qubo",
    _bqm,
    (".json",),
    _like_bqm,
)
COO = FileFormat(
    "coo",
    "`i j value` with the diagonal as linear biases; a comment `# vartype=SPIN` makes it an "
    "Ising model (dimod's coo format), binary without it",
    "qubo",
    _coo,
    (".coo",),
    _like_coo,
)
SPARSE = FileFormat(
    "sparse",
    "`n nnz`, then nnz lines `i j q`, variables counted from 1: minimise y'Qy for the symmetric "
    "Q, so each off-diagonal line counts twice (Beasley's bqp instances as Biq Mac has them)",
    "qubo",
    _sparse,
    (".sparse",),
    # A graph looks the same, and GSET comes before; where a model is asked for this does.
    like_gset,
)
QPLIB = FileFormat(
    "qplib",
    "an instance of QPLIB with binary variables and without constraints (types such as QBN); to "
    "maximise is turned into to minimise, so its values change their sign",
    "qubo",
    _qplib,
    (".qplib",),
    _like_qplib,
)
