"""From a file and options to a request."""

import json
from pathlib import Path

import pytest

from qsaga.cli.requests import Options, request_from, seconds, split_job
from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Estimate, Optimise, Sample
from qsaga.core.mitigation import Mitigation
from qsaga.core.states import Rung

ROOT = Path(__file__).parents[2]
ABILENE = ROOT / "data" / "abilene.edges"


def test_problem_file_with_options() -> None:
    request = request_from(
        ABILENE,
        Options(
            problem="independent_set",
            tenant="t",
            route="hardware",
            backend="ibm_torino",
            shots=99,
            depth=3,
            seed=5,
            deadline="2h",
            queue="1.5m",
            solve="2s",
            quantum_seconds=4.5,
            money="1.25",
        ),
    )
    assert request.tenant == "t" and request.route is Rung.HARDWARE and request.seed == 5
    workload = request.workload
    assert isinstance(workload, Optimise) and workload.problem.name == "independent_set"
    assert workload.shots == 99 and workload.algorithm.depth == 3
    budgets = request.budgets
    assert (budgets.deadline, budgets.queue, budgets.solve) == (7200, 90, 2)
    assert budgets.quantum_seconds == 4.5 and str(budgets.money) == "1.25"


def test_key_is_made_of_the_content() -> None:
    first = request_from(ABILENE, Options())
    assert first.key == f"abilene-{first.payload_hash()[:12]}"
    assert request_from(ABILENE, Options()) == first
    assert request_from(ABILENE, Options(shots=7)).key != first.key
    assert request_from(ABILENE, Options(key="mine")).key == "mine"


def test_key_of_an_odd_file_name(tmp_path: Path) -> None:
    file = tmp_path / "größe 1 (neu).edges"
    file.write_text("a b\n")
    assert request_from(file, Options()).key.startswith("gr-e-1-neu-")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("maxcut", Optimise), ("bell_sample", Sample), ("estimate", Estimate)],
)
def test_example_requests(name: str, kind: type) -> None:
    request = request_from(ROOT / "examples" / f"{name}.json", Options())
    assert isinstance(request.workload, kind)
    assert request.tenant == "examples"


def test_toml_is_the_same_request(tmp_path: Path) -> None:
    body = json.loads((ROOT / "examples" / "bell_sample.json").read_text())
    source = body["workload"]["circuit"]["source"]
    file = tmp_path / "bell_sample.toml"
    file.write_text(
        f'key = "{body["key"]}"\ntenant = "examples"\nroute = "simulator"\n'
        '[workload]\nkind = "sample"\nshots = 1000\n'
        f"[workload.circuit]\nsource = '''\n{source}'''\n"
    )
    wanted = request_from(ROOT / "examples" / "bell_sample.json", Options())
    assert request_from(file, Options()) == wanted


def test_a_byte_order_mark_is_no_part_of_a_request(tmp_path: Path) -> None:
    plain = ROOT / "examples" / "maxcut.json"
    marked = tmp_path / plain.name
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    assert request_from(marked, Options()) == request_from(plain, Options())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"a":' * 100_000),
        ("a.json", '{"a": ' + "9" * 5000 + "}"),
        ("a.toml", "a = " + "[" * 100_000),
        ("a.toml", "a = " + "9" * 5000),
        ("a.toml", "[workload.problem]\nname = 'maxcut'\ndata = { nodes = [2020-01-01] }"),
    ],
)
def test_what_no_parser_takes_is_refused(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidRequest, match=f"{name}.*no (JSON|TOML)"):
        request_from(path, Options())


def test_options_win_over_the_file() -> None:
    file = ROOT / "examples" / "maxcut.json"
    request = request_from(file, Options(route="annealing", queue="5"))
    assert request.route is Rung.ANNEALING and request.budgets.queue == 5
    assert request.budgets.deadline == 3600


def test_depth_is_of_optimise_only() -> None:
    with pytest.raises(InvalidRequest, match="only an optimise workload"):
        request_from(ROOT / "examples" / "bell_sample.json", Options(depth=2))


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1 d", 86400)]
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text, "x") == value


@pytest.mark.parametrize("text", ["", "m", "1 week", "1h30m", "1e", "--1"])
def test_no_durations(text: str) -> None:
    with pytest.raises(InvalidRequest):
        seconds(text, "x")


def test_job_names() -> None:
    assert split_job("t/k") == "t/k"
    assert split_job("k") == "default/k"


def test_a_request_file_says_what_is_to_be_done_about_noise(tmp_path: Path) -> None:
    path = tmp_path / "zne.toml"
    path.write_text(
        '[workload]\nkind = "estimate"\nobservables = [{ ZZ = 1.0 }]\n'
        'circuit = { source = "OPENQASM 3.0; qubit[2] q;" }\n'
        "[workload.mitigation]\nresilience_level = 2\n"
        "resilience = { zne = { noise_factors = [1, 2, 3] } }\n"
    )
    request = request_from(path, Options())
    assert isinstance(request.workload, Estimate)
    assert request.workload.mitigation == Mitigation.model_validate(
        {"resilience_level": 2, "resilience": {"zne": {"noise_factors": (1, 2, 3)}}}
    )
    path.write_text(path.read_text().replace("[1, 2, 3]", "[1, 0.5]"))
    with pytest.raises(
        InvalidRequest, match=r"workload\.mitigation\.resilience\.zne\.noise_factors"
    ):
        request_from(path, Options())
