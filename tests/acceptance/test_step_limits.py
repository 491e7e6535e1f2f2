"""A step past its time limit leaves nothing behind, whatever it did to stay, and the steps behind it run."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import outside
import pytest
from drivers import DRIVERS, system_on
from system import Repository


@pytest.mark.parametrize("driver", DRIVERS)
async def test_all_of_it_is_gone_when_the_next_step_runs(driver: str, tmp_path: Path, repository: Repository) -> None:
    marker = f"stubborn{uuid4().hex}"
    script = "".join(f"          {line}\n" for line in outside.stubborn_step(marker).splitlines())
    commit = repository.commit(
        {
            ".buildsys.yml": f"""
on: push
jobs:
  a:
    runs-on: linux
    steps:
      - timeout-minutes: 0.05
        id: limited
        shell: sh
        run: |
{script}
      - if: always()
        shell: sh
        run: |
          echo "${{{{ steps.limited.outcome }}}}"
          cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c '^{marker}' || true
"""
        }
    )
    async with system_on(tmp_path / "data", driver, BUILDSYS_GRACE="1") as system:
        secret = await system.add_project("demo", str(repository.path))
        await system.push("demo", secret, commit=commit)
        build = await system.only_build("demo")
        stopped = await system.stopped(build)
        steps = [(step["outcome"], step["exit_code"]) for step in stopped["jobs"][0]["steps"][1:]]
        assert steps == [("failed", 128 + 9), ("success", 0)], stopped["reason"]
        assert (await system.text(build, step=1)).splitlines() == [
            b"up",
            b"buildsys: error: the step's time limit was reached",
            b"buildsys: the step did not end within 1 s of SIGTERM: it is killed",
        ]
        assert await system.text(build, step=2) == b"failure\n0\n"
        assert (stopped["outcome"], outside.marked(marker)) == ("failed", [])
