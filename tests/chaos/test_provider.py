"""A small sample of what `make chaos-provider` plays at length."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.campaign import run
from tests.chaos.counting import count, missed
from tests.chaos.plans import KINDS, Asked, Kill, Round

KINDS_PLAYED = ("submit_504_after", "submit_dropped_after", "list_late", "read_5xx")


@pytest.mark.timeout(300)
def test_one_round_meets_every_aim(tmp_path: Path) -> None:
    dice = random.Random(5)
    rules = tuple(
        {"name": f"{kind}#0"} | KINDS[kind](dice) | {"probability": 1.0, "count": 1}
        for kind in KINDS_PLAYED
    )
    jobs = tuple(Asked(f"k{number}", at=0.2 * number) for number in range(6))
    short = replace(jobs[-1], queue=0.4), Asked("cancelled", at=0.5, cancelled_after=1.0)
    one = Round(0, 5, rules, (*jobs[:-1], *short), (Kill(1.5, 0),))
    truth, told = asyncio.run(run(tmp_path, tmp_path / "plans", [one], retries=False, seed=5))
    found = count(truth)
    assert missed(found.counts, found.detail, retries=False) == []
    assert found.counts["submissions"] == 7
    assert found.counts["accepted"] >= 5
    assert told["worker_kills"] == 1
    assert told["faults_fired"]["submit_504_after"] == 1
    assert told["faults_fired"]["submit_dropped_after"] == 1
