"""Readers of tables and of the field's own formats, and complaints that name the line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dimod
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qsaga.core.errors import InvalidRequest
from qsaga.problems import registry
from qsaga.problems.files import formats, read_problem
from qsaga.problems.polish import energies
from qsaga.problems.reading import FileFormat, Source
from tests.problems.strategies import everything

Written = Callable[[str, str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


ITEMS = [["tent", 10.0, 4], ["stove", 7.5, 2]]
CSV = "# for the trip\n# capacity: 5\nweight,name,value\n4,tent,10\n2,stove,7.5\n"
MKNAP = "1\n2 1 0\n10\n7.5 4 2 5\n"
PISINGER = "knapPI_1_2_10_1\nn 2\nc 5\nz 10\ntime 0.00\n1,10,4,1\n2,7.5,2,0\n-----\n"
SCP = " 3 2\n5 1\n1\n1\n2\n1 2\n1 2\n"
COL = "c a square\np edge 4 4\ne 1 2\ne 2 3\ne 3 4\ne 4 1\ne 2 1\n"
DATA = "# choose: 1\n# target: y\na; y; b\n1; 2; 5\n2; 4.5; 1\n3; 5; 4\n4; 9; 0\n"
QPLIB = """QPLIB_9999
QBN
maximize # sense
3 # variables
3 # quadratic terms
1 1 4
2 1 -3
3 2 2.5
1 # default
1 # others
2 -6
0.5 # constant
1e30
0 # default start
0
0
0
"""


EXPLICIT = "DIMENSION: 3\nEDGE_WEIGHT_TYPE: EXPLICIT\nEDGE_WEIGHT_FORMAT: "
SAVED = dimod.BinaryQuadraticModel({"a": -1, "b": -5}, {("a", "b"): 2}, 0.5, "BINARY")

WHOLE = {
    "bqm": ("m.json", json.dumps(SAVED.to_serializable(), indent=1)),
    "coo": ("m.coo", "# vartype=SPIN\n0 0 1\n0 2 -1.5\n"),
    "dimacs": ("g.col", COL),
    "edges": ("g.edges", "# a square\na b 2\nb c\nc d -1\nd a 0.5\n"),
    "features-csv": ("d.csv", DATA),
    "gset": ("g.gset", "4 3\n1 2 1\n2 3 -2\n3 4 1\n"),
    "knapsack-csv": ("k.csv", CSV),
    "mknap": ("k.mknap", MKNAP),
    "orlib-jobshop": ("j.jsp", "instance\n2 2\n0 3 1 2\n1 2 0 4\n"),
    "orlib-portfolio": ("port.txt", "2\n.1 .2\n.2 .3\n1 1 1\n1 2 .5\n2 2 1\n"),
    "partition-csv": ("p.csv", 'name;size\n"sofa; red";31\nbed;19\n'),
    "pisinger": ("k.knappi", PISINGER),
    "places-csv": ("c.csv", "city,x,y\nA,0,0\nB,1,1\nC,2,3.5\n"),
    "qaplib": ("q.dat", "2\n\n0 1\n1 0\n\n0 2.5\n2.5 0\n"),
    "qplib": ("q.qplib", QPLIB),
    "returns-csv": ("r.csv", "# choose: 1\ndate,A,B\n2020,.1,.2\n2021,.3,-.1\n2022,0,.2\n"),
    "scp": ("s.scp", SCP),
    "sparse": ("s.sparse", "3 3\n1 1 -4\n1 2 3\n3 2 -5\n"),
    "tsplib": ("t.tsp", f"{EXPLICIT}UPPER_ROW\nEDGE_WEIGHT_SECTION\n1 2 3\nEOF\n"),
}
"""For each format a file's name and its text."""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (MKNAP, "knapsack"),
        (SCP, "set_cover"),
        (COL, "graph_colouring"),
        (PISINGER, "knapsack"),
        ("3 2\n1 2 1\n2 3 1\n", "maxcut"),
        ("1 2\n2 3\n3 1\n", "maxcut"),
        (QPLIB, "qubo"),
        ("① ② 1\n② ③ 2\n", "maxcut"),
        ("1 2 1\n2 3 1\n", "maxcut"),
    ],
)
def test_a_file_without_extension_is_told_by_its_content(
    written: Written, text: str, problem: str
) -> None:
    assert read_problem(written("instance.txt", text)).name == problem


def test_what_is_nearly_a_set_cover_is_read_as_edges(written: Written) -> None:
    with pytest.raises(InvalidRequest, match="1 words"):
        read_problem(written("instance.txt", SCP + "4\n"))


@pytest.mark.parametrize(
    ("name", "text", "problem", "data"),
    [
        ("k.csv", CSV, "knapsack", {"items": ITEMS, "capacity": 5}),
        ("k.csv", CSV.replace(",", ";"), "knapsack", {"items": ITEMS, "capacity": 5}),
        (
            "k.mknap",
            MKNAP,
            "knapsack",
            {"items": [["1", 10.0, 4], ["2", 7.5, 2]], "capacity": 5},
        ),
        (
            "knapPI",
            PISINGER,
            "knapsack",
            {"items": [["1", 10.0, 4], ["2", 7.5, 2]], "capacity": 5},
        ),
        (
            "p.csv",
            'name,size\n"sofa, red",31\nbed,19\n',
            "partition",
            {"items": [["sofa, red", 31.0], ["bed", 19.0]]},
        ),
        (
            "s.scp",
            SCP,
            "set_cover",
            {
                "elements": ["1", "2", "3"],
                "sets": [["1", 5.0, ["1", "2"]], ["2", 1.0, ["2", "3"]]],
            },
        ),
        (
            "g.col",
            COL,
            "graph_colouring",
            {
                "nodes": ["1", "2", "3", "4"],
                "edges": [["1", "2"], ["2", "3"], ["3", "4"], ["4", "1"]],
            },
        ),
    ],
)
def test_files_are_read(
    written: Written, name: str, text: str, problem: str, data: dict[str, Any]
) -> None:
    found = read_problem(written(name, text))
    assert (found.name, found.data) == (problem, data)
    registry.parse(found)


def test_a_dimacs_file_serves_other_problems_of_graphs(written: Written) -> None:
    path = written("g.txt", COL)
    for name, optimum in (("maxcut", 4), ("independent_set", 2)):
        kind, parsed = registry.parse(read_problem(path, name))
        bits = everything(kind, parsed)
        assert kind.objectives(parsed, bits)[kind.feasibles(parsed, bits)].max() == optimum


def test_correlations_of_columns(written: Written) -> None:
    found = read_problem(written("d.csv", DATA))
    assert found.name == "feature_selection"
    a, y, b = [1, 2, 3, 4], [2, 4.5, 5, 9], [5, 1, 4, 0]
    assert found.data["features"] == [
        ["a", pytest.approx(abs(np.corrcoef(a, y)[0, 1]))],
        ["b", pytest.approx(abs(np.corrcoef(b, y)[0, 1]))],
    ]
    assert found.data["redundancy"] == [["a", "b", pytest.approx(abs(np.corrcoef(a, b)[0, 1]))]]
    assert found.data["choose"] == 1


@pytest.mark.parametrize("unit", ["e-300", "e-200", "e160", "e200", "e299"])
def test_correlations_of_columns_in_any_unit(written: Written, unit: str) -> None:
    text = "# choose: 1\na,b,y\n{0},1,2\n{1},2,3\n{0},4,5\n"
    wanted = read_problem(written("d.csv", text.format(1, 2))).data
    assert dict(wanted["features"])["a"] == pytest.approx(0.188982236505)
    assert read_problem(written("e.csv", text.format(f"1{unit}", f"2{unit}"))).data == wanted


def test_qplib_is_half_of_the_hessian(written: Written) -> None:
    kind, parsed = registry.parse(read_problem(written("q.qplib", QPLIB)))
    bits = everything(kind, parsed)
    hessian = np.array([[4, -3, 0], [-3, 0, 2.5], [0, 2.5, 0]])
    wanted = [-(row @ hessian @ row / 2 + row @ [1, -6, 1] + 0.5) for row in bits.astype(float)]
    assert kind.objectives(parsed, bits) == pytest.approx(np.array(wanted))
    assert energies(kind.formulate(parsed), bits) == pytest.approx(np.array(wanted))


ODD = ["1e999", "1e300", "-1", "0", "nan", "²", "①", "1_0", "1.5D+01", "9" * 9, "9" * 5000, "x"]
SIGNS = [
    "",
    "\0",
    "\ufeff",
    "\n",
    " ",
    ",",
    ";",
    '"',
    "\\ud800",
    "#",
    ":",
    "-",
    "{",
    "[",
    "]",
    "٣",
    "ß",
]
NUMBER = re.compile(r"[-+.\w]*\d[-+.\w]*")


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """The text after a few accidents."""
    for accident in draw(st.lists(st.sampled_from(["cut", "sign", "number", "line"]), max_size=3)):
        place = draw(st.integers(0, len(text)))
        lines = text.splitlines(keepends=True)
        if accident == "cut":
            text = text[:place]
        elif accident == "sign":
            text = text[:place] + draw(st.sampled_from(SIGNS)) + text[place + 1 :]
        elif accident == "number" and (found := NUMBER.search(text, place)):
            text = text[: found.start()] + draw(st.sampled_from(ODD)) + text[found.end() :]
        elif accident == "line" and lines:
            text = "".join([*lines, lines[place % len(lines)]])
    return text


def test_there_is_a_whole_file_of_each_format() -> None:
    assert set(WHOLE) == set(formats())


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_damaged_file_is_refused_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name, text = WHOLE[data.draw(st.sampled_from(sorted(WHOLE)))]
    path = tmp_path_factory.getbasetemp() / data.draw(st.sampled_from([name, "a.txt"]))
    path.write_text(data.draw(damaged(text)))
    read_as = data.draw(st.none() | st.sampled_from(sorted(WHOLE)))
    try:
        registry.parse(read_problem(path, format=read_as))
    except InvalidRequest as error:
        refusal = error
    else:
        return
    assert re.match(rf"{re.escape(str(path))}:( \w|\d+$)|workload.problem.data", refusal.field)


def test_a_reader_of_others_that_stumbles_is_a_refusal(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(source: Source, *_: str) -> Any:
        return {"": {}}[source.text]

    broken = FileFormat("broken", "what no one can read", "maxcut", stumble, (), stumble)
    kind = type(registry.get("maxcut"))
    monkeypatch.setattr(kind, "formats", (*kind.formats, broken))
    path = written("a.txt", "a b\n")
    assert read_problem(path).name == "maxcut"
    with pytest.raises(
        InvalidRequest, match=r"no file of format broken: KeyError.*no one can read"
    ):
        read_problem(path, format="broken")


WRONG = [
    ("k.csv", CSV.replace("# capacity: 5\n", ""), None, 2, "no capacity is set"),
    ("k.csv", CSV.replace("5", "-5", 1), None, 2, "-5 is out of range"),
    ("k.csv", CSV.replace("4,tent", "4.5,tent"), None, 4, "'4.5' is no whole number"),
    ("k.csv", CSV.replace("2,stove", "stove"), None, 5, "2 values"),
    ("k.csv", CSV.replace("7.5", "much"), None, 5, "'much' is no number"),
    ("k.csv", CSV.replace("value", "price"), "knapsack", 3, "no column 'value'"),
    ("k.csv", CSV.replace("value", "name"), "knapsack", 3, "a column is called 'name'"),
    ("k.csv", "# capacity: 5\nname,value,weight\n", None, 1, "no rows"),
    ("k.csv", CSV + "#1,1,2\n", None, 6, "'#1,1,2' is a comment or a row"),
    ("k.csv", CSV + "# capacity: 6\n", None, 6, "a second `# capacity: …`"),
    ("k.csv", CSV + '7,"lamp,3\n' + "1,b,2\n" * 9, None, 6, "unexpected end of data"),
    ("k.csv", CSV + '7,"lamp,3\n' + "1,b,2\n" * 30_000, None, 6, "field larger than"),
    ("k.csv", CSV.replace("10", "1_0"), None, 4, "'1_0' is no number"),
    ("k.csv", CSV.replace("10", "１０"), None, 4, "'１０' is no number"),
    ("r.csv", "date,A,B\n2020,.1,.2\n2021,1e200,.2\n", None, 3, "return 1e200"),
    ("p.dat", "9" * 5000 + "\n0 1\n", None, 1, "is no index"),
    ("g.gset", "² 1\n1 2 1\n", None, 1, "header '² 1'"),
    ("g.gset", "999999999 1\n1 2 1\n", None, 1, "size 999999999 is out of range"),
    ("g.col", "p edge 999999999 1\ne 1 2\n", None, 1, "index 999999999 is out of range"),
    ("q.qplib", QPLIB.replace("3 # var", "1e9 # var"), None, 4, "1e9 is out of range"),
    ("s.sparse", "2 1\n1 2 1e308\n", None, 2, "'1e308' is too large"),
    ("k.mknap", "2\n2 1 0\n", None, 1, "2 test problems"),
    ("k.mknap", "1\n2 5 0\n", None, 2, "5 constraints"),
    ("k.mknap", MKNAP.replace("7.5 4 2 5", "7.5 4 2"), None, 4, "ends too early"),
    ("k.mknap", MKNAP + "9\n", None, 5, "'9' is one too many"),
    ("knapPI", PISINGER.replace("2,7.5,2,0", "2,7.5,2"), None, 7, "2,7.5,2"),
    ("knapPI", PISINGER.replace("n 2", "n 3"), None, 2, "but 2 items follow"),
    ("knapPI", PISINGER + PISINGER, None, 9, "another instance"),
    ("knapPI", "knapPI_1\nn 2 3\n", None, 2, "n 2 3"),
    ("p.csv", "name,size\n", "partition", 1, "no rows"),
    ("p.csv", "name,size\na,inf\nb,1\n", None, 2, "not finite"),
    ("s.scp", "3 2\n5 1\n1 1\n2\n1 3\n1 2\n", None, 5, "index 3 is out of range"),
    ("s.scp", "3 2\n5 1\n1 1\n0\n", None, 4, "0 is out of range"),
    ("s.scp", "3 2\n5 1\n1 1\n2 1\n", None, 4, "ends too early"),
    ("g.col", "e 1 2\n", None, 1, "e 1 2"),
    ("g.col", "p edge 2 1\ne 1 3\n", None, 2, "index 3 is out of range"),
    ("g.col", "p edge 2 1\ne 1 1\n", None, 2, "to itself"),
    ("g.col", "p edge 2 1\np edge 2 1\n", None, 2, "p edge 2 1"),
    ("g.col", "p sp 2 1\na 1 2 3\n", None, 1, "p sp 2 1"),
    ("g.col", "p edge 2 0\n", None, 1, "no edges"),
    ("d.csv", DATA.replace("# choose: 1\n", ""), "feature_selection", 2, "no choose is set"),
    ("d.csv", DATA.replace("target: y", "target: z"), None, 2, "no column 'z'"),
    ("d.csv", DATA.replace("4.5", "red"), None, 5, "'red' is no number"),
    ("d.csv", "# choose: 1\na,y\n1,2\n1,3\n", None, 2, "column 'a' has the same value"),
    ("d.csv", "# choose: 1\na,y\n1,2\n", None, 3, "one row"),
    ("q.qplib", QPLIB.replace("QBN", "QBL"), None, 2, "type QBL"),
    ("q.qplib", QPLIB.replace("QBN", "QCN"), None, 2, "type QCN"),
    ("q.qplib", QPLIB.replace("maximize", "upwards"), None, 3, "sense 'upwards'"),
    ("q.qplib", QPLIB.replace("3 2 2.5", "4 2 2.5"), None, 8, "index 4 is out of range"),
    ("q.qplib", QPLIB.replace("3 2 2.5", "1 2 2.5"), None, 8, "already given on line 7"),
    ("q.qplib", QPLIB.replace("1 # others\n2 -6", "2\n2 -6\n2 5"), None, 12, "second term of 2"),
    ("q.qplib", "QPLIB_1\nQBN\nminimize\n3\n1\n1 2", None, 6, "ends too early"),
]


@pytest.mark.parametrize(("name", "text", "problem", "line", "words"), WRONG)
def test_malformed_files(
    written: Written, name: str, text: str, problem: str | None, line: int, words: str
) -> None:
    path = written(name, text)
    with pytest.raises(InvalidRequest) as caught:
        read_problem(path, problem)
    assert caught.value.field == f"{path}:{line}"
    assert words in caught.value.problem


def test_a_csv_that_nobody_knows_is_read_as_what_was_asked_for(written: Written) -> None:
    path = written("a.csv", "colour,size\nred,3\n")
    with pytest.raises(InvalidRequest, match="no column 'name'"):
        read_problem(path, "partition")
    with pytest.raises(
        InvalidRequest, match=r"a\.csv:1: 'colour,size' is the header of no.* partition-csv"
    ):
        read_problem(path)
    with pytest.raises(InvalidRequest, match="u v, or u v weight"):
        read_problem(path, "maxcut")


def test_comments_that_look_like_settings_may_come_twice(written: Written) -> None:
    more = "# from: http://one\n# from: http://two\n# more, or less, it is\n"
    assert read_problem(written("k.csv", more + CSV)) == read_problem(written("l.csv", CSV))
    below = read_problem(written("k.csv", CSV + more.rpartition("# more")[0]))
    assert below == read_problem(written("l.csv", CSV))
    quoted = read_problem(written("k.csv", CSV + '"1","#1",2\n'))
    assert quoted.data["items"][-1] == ["#1", 2.0, 1]


def test_a_list_of_counted_rows_is_what_is_asked_for(written: Written) -> None:
    path = written("bqp.txt", "2 3\n1 1 -1\n1 2 2\n2 2 1.5D+01\n")
    assert read_problem(path, "qubo").data == {
        "variables": ["1", "2"],
        "linear": {"1": -1.0, "2": 15.0},
        "quadratic": [["1", "2", 4.0]],
    }
