"""A user's estimator for the rung ``learned``, installed as a package would be."""

from __future__ import annotations

from pathlib import Path

NAME = "average"
_CODE = """
class Average:
    name = "average/1"

    def estimate(self, workload, seconds):
        if workload["kind"] == "estimate":
            return {"values": [0.5], "standard_errors": [0.25]}
        if workload["kind"] == "optimise":
            edges = workload["problem"]["data"]["edges"]
            return {"assignment": {node: 0 for edge in edges for node in edge[:2]}}
        raise KeyError("never seen")
"""


def installed(folder: Path) -> Path:
    """Install it below ``folder``; returns what has to be on the path for it to be found.

    It answers estimates and cuts, and knows nothing of samples.
    """
    package = folder / "installed"
    facts = package / f"{NAME}-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1\n")
    entry = f"[qsaga.estimators]\n{NAME} = average_of:Average\n"
    (facts / "entry_points.txt").write_text(entry)
    (package / "average_of.py").write_text(_CODE)
    return package
