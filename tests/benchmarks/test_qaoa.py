"""The aims of the QAOA benchmark say what they could not judge."""

from benchmarks.qaoa import AIMS, PEERS, WAYS, Found, aims


def run(
    kind: str, way: str, ratio: float, seconds: float, *, seed: int = 0, depth: int = 3
) -> Found:
    return Found(kind, 16, depth, way, seed, ratio, 0.1, seconds)


def test_a_peer_is_compared_with_the_quickest_way_to_its_ratio() -> None:
    slow, good = PEERS
    found = [
        one
        for kind in AIMS
        for one in (
            run(kind, "tuned", 0.95, 0.5),
            run(kind, WAYS[kind][1], 0.92, 0.1),
            run(kind, WAYS[kind][2], 0.80, 0.01, depth=1),
            # On another instance, which the peers have not solved.
            run(kind, WAYS[kind][1], 0.99, 0.001, seed=1),
            run(kind, slow, 0.9, 4.0),
            run(kind, good, 0.99, 9.0),
        )
    ]
    judged = {one["aim"]: one for one in aims(found)}
    for kind in AIMS:
        assert judged[f"{kind}, 16, p=3: ratio"]["met"]
        slower = judged[f"{kind}, 16: times faster than {slow} at its ratio or better"]
        assert (slower["is"], slower["met"]) == (40.0, True)
        assert slower["by"] == f"{WAYS[kind][1]}, p=3: 0.92 beside 0.9"
        better = judged[f"{kind}, 16: times faster than {good} at its ratio or better"]
        assert better["because"] == "its ratio is better: 0.99"


def test_a_peer_that_is_nearly_as_fast_misses_the_aim() -> None:
    found = [
        run(kind, way, 0.95, 1.0 if way == "tuned" else 4.0) for kind in AIMS for way in WAYS[kind]
    ]
    found += [run(kind, peer, 0.9, 9.9) for kind in AIMS for peer in PEERS]
    faster = [one["met"] for one in aims(found) if "times faster" in one["aim"]]
    assert faster == [False] * len(AIMS) * len(PEERS)


def test_a_peer_that_did_not_run_is_told() -> None:
    judged = aims([run(kind, "tuned", 0.8, 0.5) for kind in AIMS])
    assert [one["met"] for one in judged if "p=3: ratio" in one["aim"]] == [False, False]
    missing = [one for one in judged if one["met"] is None]
    assert len(missing) == len(AIMS) * len(PEERS)
    assert {one["because"] for one in missing} == {"it did not run"}
