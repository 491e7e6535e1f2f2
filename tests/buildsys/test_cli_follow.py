"""What a person who watches a build is told of its steps."""

from __future__ import annotations

import pytest

from buildsys.cli.events import Event
from buildsys.cli.follow import Narrator
from buildsys.cli.terminal import Terminal


def test_a_step_that_was_skipped_is_told_of_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"job": "a", "step": 7, "name": "Deploy", "outcome": "skipped", "at": "2030-01-01T00:00:00Z"}
    Narrator(Terminal(json=False, environ={})).tell(Event(kind="step_stopped", cursor=1, data=data))
    assert "a / Deploy: skipped" in capsys.readouterr().err
