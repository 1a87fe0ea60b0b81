"""The command that starts a variational loop, and the examples of loops."""

import json
from pathlib import Path

import pytest

from qsaga.cli.loops import loop_from
from qsaga.core.loop_rules import is_loop
from qsaga.core.loops import LoopRequest
from tests.support.loops import GROUND, HYDROGEN

LOOPS = Path(__file__).parents[2] / "examples" / "loops"
H2 = LOOPS / "vqe_h2.json"


@pytest.mark.usefixtures("on_stage")
def test_hydrogen_from_the_command_line(qsaga, stage) -> None:
    ended = qsaga("loop", H2, "--route", "simulator", "--json")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert result["answer"]["value"] == pytest.approx(GROUND, abs=5e-3)
    assert "best -1.8" in ended.err
    shown = qsaga("show", "examples/loop/vqe-h2")
    assert shown.code == 0
    for words in ("measured anew at the end", "theta =", "completed", "adam/2"):
        assert words in shown.out
    assert json.loads(qsaga("watch", "examples/loop/vqe-h2", "--json").out) == result
    assert "had ended already" in qsaga("cancel", "examples/loop/vqe-h2").out
    again = qsaga("loop", H2, "--route", "simulator", "--detach")
    assert (again.code, again.out.strip()) == (0, "examples/loop/vqe-h2")
    assert qsaga("loop", H2, "--route", "hardware").code == 3, "another request, the same key"
    assert stage.emulator.control.summary()["created"] == 0


@pytest.mark.usefixtures("on_stage")
def test_a_loop_that_cannot_be_is_refused(tmp_path, qsaga) -> None:
    body = json.loads(H2.read_text()) | {"key": "refused"}
    wrong = tmp_path / "wrong.json"
    for changes, words in (
        ({"optimiser": {"name": "newton"}}, "optimiser.name: unknown optimiser 'newton'"),
        ({"optimiser": {"iterations": 0}}, "optimiser.iterations"),
        ({"initial": [1, 2]}, "initial: 2 values (allowed: one for each of 1 parameters)"),
    ):
        wrong.write_text(json.dumps(body | changes))
        ended = qsaga("loop", wrong)
        assert (ended.code, ended.out) == (2, "")
        assert words in ended.err
    wrong.write_text("[]")
    assert qsaga("loop", wrong).code == 2


def test_a_file_may_be_toml_and_options_win(tmp_path) -> None:
    text = 'key = "t"\n[workload]\nkind = "estimate"\nobservables = [{ Z = 1.0 }]\n'
    path = tmp_path / "loop.toml"
    path.write_text(text + '[workload.circuit]\nsource = "input float a;"\n')
    request = loop_from(path, {"tenant": "acme", "route": "simulator"})
    assert (request.job_id, request.route) == ("acme/loop/t", "simulator")


def test_ids_of_loops_are_told_from_those_of_jobs() -> None:
    assert is_loop("acme/loop/h2")
    assert not any(map(is_loop, ("acme/h2", "h2", "loop/h2", "acme/loop", "a/b/c")))


def test_the_examples_are_loops_of_the_published_model() -> None:
    found = {
        path.stem: LoopRequest.model_validate_json(path.read_text()) for path in LOOPS.iterdir()
    }
    assert set(found) == {"vqe_h2", "vqe_heh", "vqe_lih", "vqe_chain"}
    assert found["vqe_h2"].workload.observables == (HYDROGEN,)
