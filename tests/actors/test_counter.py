"""The example runs, twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COUNTER = Path(__file__).parents[2] / "examples" / "counter.py"


def test_the_counter_remembers(postgres_dsn: str) -> None:
    runs = [subprocess.run([sys.executable, COUNTER, postgres_dsn], capture_output=True, text=True) for _ in range(2)]
    assert [run.stdout for run in runs] == ["counted from 1 to 100\n", "counted from 101 to 200\n"], runs
