"""What a turn has changed of a build."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Changes:
    """What is to be written: the build, jobs and steps that changed or are new, and what stood for them before."""

    build: bool = False
    jobs: set[str] = field(default_factory=set)
    new_jobs: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    steps: set[tuple[str, int]] = field(default_factory=set)
    new_steps: set[tuple[str, int]] = field(default_factory=set)
