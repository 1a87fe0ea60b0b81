"""The formal model of submit-or-adopt, searched exhaustively by Spin."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

MODEL = Path(__file__).resolve().parents[2] / "docs" / "protocol" / "submit_or_adopt.pml"
DEPTH = 100_000
"""Steps of the longest path that is followed; the search says if that was too few."""
MEMORY = 2048
"""MB that a search may use; it says if that was too little."""

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


@dataclass(frozen=True)
class Verdict:
    """What ``pan`` found: the number of errors, the error itself, and all that it wrote."""

    errors: int
    error: str
    output: str


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: run `make test-system`, which says how to get it"
    return found


def check(folder: Path, *switches: str, eventually: str | None = None) -> Verdict:
    """Search all states of the model; with ``eventually``, for weakly fair runs that break it."""
    _run(folder, tool("spin"), "-a", *(f"-D{switch}" for switch in switches), str(MODEL))
    search = ("-DNFAIR=4",) if eventually else ("-DSAFETY", "-DNOCLAIM")
    options = ("-DCOLLAPSE", f"-DMEMLIM={MEMORY}", *search)
    # gcc warns of indices in Spin's own code.
    _run(folder, tool("cc"), "-w", "-O2", *options, "-o", "pan", "pan.c")
    how = ("-a", "-f", "-N", eventually) if eventually else ()
    output = _run(folder, str(folder / "pan"), f"-m{DEPTH}", *how)
    assert "max search depth too small" not in output, output
    assert "out of memory" not in output, output
    assert "pan: reached" not in output, output
    counted = re.search(r"errors: (\d+)", output)
    assert counted is not None, output
    broken = re.search(r"^pan:\d+: (.*)$", output, re.MULTILINE)
    errors = int(counted[1])
    # Only a search without an error runs to its end; Spin says when it did not.
    assert errors > 0 or "Search not completed" not in output, output
    return Verdict(errors, broken[1] if broken else "", output)


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def assert_holds(verdict: Verdict) -> None:
    assert verdict.errors == 0, verdict.output


def assert_broken(verdict: Verdict, claim: str) -> None:
    assert verdict.errors == 1, verdict.output
    assert claim in verdict.error, verdict.output


def test_no_key_is_sent_twice_and_every_accepted_job_is_booked(tmp_path: Path) -> None:
    """P1, P3, P4, and no state without a way on."""
    assert_holds(check(tmp_path))


def test_every_submission_ends_decided_or_with_a_person(tmp_path: Path) -> None:
    """P2."""
    assert_holds(check(tmp_path, eventually="decided"))


# Smaller than the rest: all bounds at once give more states than memory and a minute allow.
THREE_REQUESTS = ("CLIENT_RETRIES", "MOST_SENDS=2", "MOST_TRIES=3", "OVERLAPS=0")
SECOND_WORKER = ("CLIENT_RETRIES", "MOST_SENDS=1", "MOST_TRIES=2", "OVERLAPS=1")


@pytest.mark.parametrize("claim", [1, 2, 3])
@pytest.mark.parametrize("bounds", [THREE_REQUESTS, SECOND_WORKER], ids=["three", "overlap"])
def test_a_client_that_repeats_makes_duplicates_that_are_all_booked(
    tmp_path: Path, bounds: tuple[str, ...], claim: int
) -> None:
    assert_holds(check(tmp_path, *bounds, f"CLAIM={claim}"))


def test_that_ends_decided_or_with_a_person_too(tmp_path: Path) -> None:
    bounds = ("CLIENT_RETRIES", "MOST_SENDS=2", "MOST_TRIES=2", "OVERLAPS=0")
    assert_holds(check(tmp_path, *bounds, "CLAIM=2", eventually="decided"))


@pytest.mark.parametrize(
    ("claim", "switches"),
    [
        (1, ["NO_LOOK"]),
        (1, ["NO_CAS"]),
        (1, ["EARLY_LOOK"]),
        (1, ["BLIND_WITHDRAWAL"]),
        (1, [*THREE_REQUESTS, "TRUST_REFUSAL"]),
        (3, ["NO_CLOSING_WAIT"]),
        (3, ["NO_FENCE"]),
        (3, [*THREE_REQUESTS, "NO_SWEEP"]),
        (3, [*THREE_REQUESTS, "EARLY_SWEEP"]),
        (4, [*THREE_REQUESTS]),
        # Outside the timing that the protocol takes for granted.
        (4, ["LATE_LISTING"]),
        (3, ["LATE_LISTING"]),
        (4, ["LATE_ACCEPTANCE"]),
        (3, ["LATE_ACCEPTANCE"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else f"P{value}",
)
def test_what_is_broken_is_caught(tmp_path: Path, claim: int, switches: list[str]) -> None:
    assert_broken(check(tmp_path, *switches, f"CLAIM={claim}"), f"({claim}!={claim})")


def test_a_run_that_never_asks_a_person_is_caught(tmp_path: Path) -> None:
    assert_broken(check(tmp_path, "NO_PERSON", eventually="decided"), "acceptance cycle")


def test_what_is_listed_too_late_is_found_by_the_reconciler(tmp_path: Path) -> None:
    """P5: what the protocol still guarantees there."""
    bounds = ("MOST_SENDS=2", "OVERLAPS=0")
    assert_holds(check(tmp_path, "LATE_LISTING", *bounds, "CLAIM=5", eventually="told_at_last"))


PLACES = {
    1: "a cancel loses the race",
    2: "a second worker loses the compare-and-set",
    3: "a zombie meets the fence",
    4: "a refusal is withdrawn",
    5: "a refusal is noted too late to matter",
    6: "a job is adopted",
    7: "an account is closed with a sending and no job",
    8: "a late result is booked",
    10: "a person is asked",
    11: "a second sending is accepted",
}


@pytest.mark.parametrize("place", PLACES, ids=PLACES.get)
def test_the_model_gets_there(tmp_path: Path, place: int) -> None:
    """A model in which nothing happens would break nothing."""
    assert_broken(check(tmp_path, f"WITNESS={place}"), f"({place}!={place})")


def test_the_model_books_three_jobs_of_one_sending(tmp_path: Path) -> None:
    verdict = check(tmp_path, *THREE_REQUESTS, "CLAIM=3", "WITNESS=9")
    assert_broken(verdict, "(9!=9)")
