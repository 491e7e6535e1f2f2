"""Random builds: whatever their jobs are and however these end, they come to an end, and a takeover changes nothing."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from planning_cases import Build

CONDITIONS = (
    *("", "always()", "failure()", "cancelled()", "!cancelled()", "success()", "false", "fromJSON('[')"),
    *("github.ref_name == 'main'", "always() && contains(needs.*.result, 'failure')"),
)
RESULTS = ("success", "success", "failure", "cancelled", "skipped")


def random_jobs(chance: random.Random) -> dict[str, Any]:
    jobs: dict[str, Any] = {}
    for id in "abcdefg"[: chance.randint(1, 7)]:
        job: dict[str, Any] = {
            "needs": [other for other in jobs if chance.random() < 0.35],
            "if": chance.choice(CONDITIONS) or "success()",
        }
        if chance.random() < 0.4:
            job["strategy"] = {"matrix": {"n": list(range(chance.randint(1, 4)))}, "fail-fast": chance.random() < 0.5}
            if chance.random() < 0.4:
                job["strategy"]["max-parallel"] = chance.randint(1, 3)
        if chance.random() < 0.3:
            job["uses"] = "./.github/workflows/called.yml"
        elif chance.random() < 0.3:
            job["continue-on-error"] = True
        jobs[id] = job
    return jobs


def random_called(chance: random.Random) -> str:
    jobs = {
        "t": {"outputs": {"o": "x"}},
        "u": {"needs": "t", "if": chance.choice(CONDITIONS) or "success()"},
        "v": {"needs": ["u"], "if": "always()", "strategy": {"matrix": {"m": [1, 2]}, "max-parallel": 1}},
    }
    outputs = {"o": {"value": "${{ fromJSON(jobs.t.outputs.o || '1') }}"}}
    return json.dumps({"on": {"workflow_call": {"outputs": outputs}}, "jobs": jobs})


@pytest.mark.parametrize("seed", range(60))
def test_a_build_comes_to_its_end(seed: int) -> None:
    chance = random.Random(seed)
    build = Build.of(json.dumps(random_jobs(chance)), called={"called.yml": random_called(chance)})
    while build.progress.result is None:
        live = [id for id, state in build.states.items() if state in ("runs", "to be cancelled")]
        assert live, f"nothing runs and the build goes on: {build.states}"
        if chance.random() < 0.05:
            build.cancel()
        build.end(chance.choice(live), chance.choice(RESULTS), o=chance.choice(("", "1", "{")))
    assert all(end is not None for end in build.rows.values())
    assert build.settle().decisions == ()
