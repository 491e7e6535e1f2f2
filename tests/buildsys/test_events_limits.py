"""What many or hostile files and patterns cost, and how long a reason may be."""

from __future__ import annotations

import time

import pytest

from buildsys.core.definition import Events, Filter
from buildsys.core.events import Event, match


def on_push(**filter: tuple[str, ...]) -> Events:
    return Events(filters={"push": Filter(**filter)})


def push(*paths: str) -> Event:
    return Event(name="push", ref="refs/heads/main", sha="1" * 40, paths=paths)


def test_many_files_take_a_moment() -> None:
    wanted = on_push(paths=("**/*.py", "!**/test_*.py", "docs/**", "!docs/old/**"))
    paths = tuple(f"folder/{number}/test_{number}.py" for number in range(10_000))
    begun = time.process_time()
    assert match(wanted, push(*paths)) is not None
    assert match(wanted, push(*paths, "x.py")) is None
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("patterns", "paths"),
    [
        ([f"**/{number}/**" for number in range(5000)], [f"a/{number}" for number in range(5000)]),
        (["*a" * 499 + "!"] * 60, ["a" * 4000] * 1000),
        (["x"] * 30_000, ["y"] * 30_000),
    ],
)
def test_what_would_take_too_long_to_look_at_is_wanted(patterns: list[str], paths: list[str]) -> None:
    """GitHub: if the diff is not generated in time, the workflow will always run."""
    begun = time.process_time()
    for key in ("paths", "paths_ignore"):
        assert match(on_push(**{key: tuple(patterns)}), push(*paths)) is None
    assert time.process_time() - begun < 1


def test_the_slowest_that_is_looked_at_takes_seconds() -> None:
    wanted = on_push(paths=("**a[ab]?" + "[ab]?" * 198,) * 20)
    names = tuple("ab" * (1900 + number % 7) + "/!" for number in range(20))
    begun = time.process_time()
    assert match(wanted, push(*names)) is not None
    assert time.process_time() - begun < 10


def test_a_reason_is_brief() -> None:
    reason = match(on_push(branches=tuple(f"branch-{number}" for number in range(1000))), push())
    assert reason is not None
    assert reason.endswith("branch-18, branch-19 and 980 more")
