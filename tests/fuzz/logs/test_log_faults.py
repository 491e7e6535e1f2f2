"""Builds print, faults happen, readers come and go: every line is there once, in order, live and in the archive.

`BUILDSYS_FUZZ_SECONDS` says for how long, `BUILDSYS_FUZZ_SEED` repeats the choices of a run (though not its timing).
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from simulation import simulate

SECONDS = float(os.environ.get("BUILDSYS_FUZZ_SECONDS", "60")) / 2


@pytest.mark.timeout(SECONDS * 6 + 600)
@pytest.mark.parametrize("blobs", ["folder", "bucket"])
async def test_every_line_once_in_order(blobs: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("BUILDSYS_FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"\nBUILDSYS_FUZZ_SEED={seed} BUILDSYS_FUZZ_SECONDS={2 * SECONDS:g}")
    await simulate(tmp_path, random.Random(seed), seconds=SECONDS, in_bucket=blobs == "bucket")
