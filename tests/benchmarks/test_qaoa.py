"""The aims of the QAOA benchmark say what they could not judge."""

from typing import Any

from benchmarks.qaoa import AIMS, PEERS, aims


def row(kind: str, way: str, ratio: float, seconds: float) -> dict[str, Any]:
    at = {"kind": kind, "variables": 16, "depth": 3}
    return at | {"way": way, "ratio": ratio, "seconds": seconds}


def test_a_peer_is_compared_at_a_ratio_that_is_no_better_than_ours() -> None:
    slow, good = PEERS
    table = [
        one
        for kind in AIMS
        for one in (
            row(kind, "tuned", 0.95, 0.5),
            row(kind, slow, 0.9, 4.0),
            row(kind, good, 0.99, 9.0),
        )
    ]
    judged = {one["aim"]: one for one in aims(table)}
    for kind in AIMS:
        assert judged[f"{kind}, 16, p=3: ratio"]["met"]
        assert judged[f"{kind}: times faster than {slow}"]["met"] is False
        assert judged[f"{kind}: times faster than {good}"]["because"] == "its ratio is better: 0.99"


def test_a_peer_that_did_not_run_is_told() -> None:
    table = [row(kind, "tuned", 0.8, 0.5) for kind in AIMS]
    judged = aims(table)
    assert [one["met"] for one in judged if "ratio" in one["aim"]] == [False, False]
    missing = [one for one in judged if one["met"] is None]
    assert len(missing) == len(AIMS) * len(PEERS)
    assert {one["because"] for one in missing} == {"it did not run"}
