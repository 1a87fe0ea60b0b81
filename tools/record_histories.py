"""Records the histories that tests/replay replays, by running the stories that they tell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools import fingerprints

TOLD = (
    "stories",
    "layers",
    "duplicates",
    "approvals",
    "guarded",
    "submissions",
    "watcher",
    "sessions",
    "ladder",
    "beyond_one_run",
    "manual_rung",
    "exact",
    "gate",
    "operations",
    "loops",
    "loops_asked",
    "database_away",
    "races",
    "answered_in_vain",
)
KEPT = (
    "cancelled_unjudged.loop.json",
    "completed_unjudged.loop.json",
    "unwritten_late.job.json",
    "cancelled_in_vain.job.json",
    "late_given_up.run.json",
    "unpublished.run.json",
)
"""No worker of today makes such a history: of before loops were judged as a whole, closing records
kept to the deadline, every late result was kept, and runs were found by their state."""
FOLDER = Path(__file__).parent.parent / "tests" / "replay" / "histories"


def main() -> int:
    """Run the stories; keep the old histories if one of them fails."""
    fresh = FOLDER.with_name("histories.new")
    shutil.rmtree(fresh, ignore_errors=True)
    environment = os.environ | {"QSAGA_RECORD_HISTORIES": str(fresh)}
    told = [f"tests/workflows/test_{name}.py" for name in TOLD]
    stories = [sys.executable, "-m", "pytest", "-q", *told]
    failed = subprocess.run(stories, env=environment, check=False).returncode
    if failed:
        return failed
    for scratch in ("short.json", "queued.run.json"):
        (fresh / scratch).unlink(missing_ok=True)
    for old in KEPT:
        shutil.copy(FOLDER / old, fresh)
    shutil.rmtree(FOLDER, ignore_errors=True)
    fresh.rename(FOLDER)
    fingerprints.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
