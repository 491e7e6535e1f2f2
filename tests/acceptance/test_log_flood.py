"""A build that prints without end: its log is cut at the limit and says so, and nobody's memory grows with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from system import Repository, System

LIMIT = 1 << 20
FLOOD = 100 << 20
NOTE = b"buildsys: the build's log limit of %d bytes was reached; the rest is not kept\n" % LIMIT
MEMORY = 300 << 20
"""Bytes that orchestrator and runner in one process may come to, whatever is printed."""

WORKFLOW = f"""\
on: push
jobs:
  a: {{runs-on: linux, steps: [{{run: yes line of a | head -c {FLOOD}}}, {{run: echo behind}}]}}
  b: {{runs-on: linux, steps: [{{run: yes line of b | head -c {FLOOD}; exit 3}}]}}
"""


@pytest.mark.timeout(180)
async def test_a_flood_is_cut_at_the_limit_of_the_build(tmp_path: Path, repository: Repository) -> None:
    async with System(tmp_path / "data", BUILDSYS_LOG_LIMIT=str(LIMIT)) as system:
        secret = await system.add_project("demo", str(repository.path))
        assert await system.push("demo", secret, commit=repository.workflow(WORKFLOW)) == 202
        build = await system.stopped(await system.only_build("demo"), within=120)
        shown = [await system.text(build["id"], job=job, step=1) for job in ("a", "b")]
        behind = await system.text(build["id"], job="a", step=2)
        verdict = await system.call("GET", f"/builds/{build['id']}/logs/verification")
        assert system.process is not None
        peak = int(Path(f"/proc/{system.process.pid}/status").read_text().split("VmHWM:")[1].split()[0]) << 10
    texts = [text.partition(NOTE) for text in shown]
    assert [(note, rest) for _, note, rest in texts] == [(NOTE, b"")] * 2
    assert 0 <= sum(len(text) for text, _, _ in texts) - LIMIT <= 2  # a line that the limit parts is ended
    for name, (text, _, _) in zip((b"a", b"b"), texts, strict=True):
        assert set(text.splitlines()[:-1]) <= {b"line of " + name}
    assert behind == NOTE
    assert build["outcome"] == "failed"
    assert [(job["id"], job["outcome"]) for job in build["jobs"]] == [("a", "success"), ("b", "failed")]
    assert (verdict["state"], [missing["kind"] for missing in verdict["missing"]]) == ("incomplete", ["truncated"] * 3)
    assert peak < MEMORY
