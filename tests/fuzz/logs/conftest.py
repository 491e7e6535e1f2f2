"""The simulator of logs uses what the acceptance tests use."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent.parent / "acceptance"))
