"""A stub is typed as its actor's class: mypy finds wrong calls where they are made."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

SAMPLE = """
from actors import Actor, Namespace


class Greeter(Actor):
    async def greet(self, name: str, times: int = 1) -> list[str]:
        return [name] * times


async def right(greeters: Namespace[Greeter]) -> list[str]:
    stub = greeters.get("en", timeout=2.5)
    return await stub.greet("you", times=2)


async def wrong(greeters: Namespace[Greeter]) -> None:
    stub = greeters.get("en")
    await stub.greet(3)  # arg-type
    await stub.greet()  # call-arg
    await stub.greet("you", time=2)  # call-arg
    await stub.great("you")  # attr-defined
    text: str = await stub.greet("you")  # assignment
    stub.greet("you").upper()  # attr-defined
    greeters.get(3)  # arg-type
    greeters.get("en", timeout="soon")  # arg-type
    stub.greet("you")  # unused-coroutine
"""


def test_mypy_reports_each_wrong_call_and_nothing_else(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(SAMPLE)
    output, errors, _ = api.run(["--strict", "--hide-error-context", "--no-error-summary", str(sample)])
    assert errors == ""
    reported = re.findall(r"sample\.py:(\d+): error: .*\[(\S+)\]", output)
    expected = [
        (str(number), line.rpartition("# ")[2]) for number, line in enumerate(SAMPLE.splitlines(), 1) if "  # " in line
    ]
    assert reported == expected, output
