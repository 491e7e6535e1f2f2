"""The examples in the test kit's docstring run as they stand."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import sys
import textwrap
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from actors import ActorUnavailable, Database, NodeSettings, testing


def examples() -> list[str]:
    """The indented parts of the kit's docstring; one that goes on deeper indented belongs to the one before."""
    assert testing.__doc__ is not None
    parts: list[str] = []
    inside = False
    for line in testing.__doc__.splitlines():
        if line.startswith("    "):
            if not inside and not line.startswith("     "):
                parts.append("")
            inside = True
            parts[-1] += line + "\n"
        elif line:
            inside = False
        elif parts:
            parts[-1] += "\n"
    return [textwrap.dedent(part) for part in parts]


async def test_the_examples_of_the_kit(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, *parts = examples()
    (tmp_path / "counting.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path))
    import counting  # type: ignore[import-not-found]

    names: dict[str, Any] = {name: getattr(testing, name) for name in testing.__all__}
    names |= {"Counter": counting.Counter, "declare": counting.declare, "database": database}
    names |= {"NodeSettings": NodeSettings, "ActorUnavailable": ActorUnavailable}
    names |= {"asyncio": asyncio, "contextlib": contextlib}
    try:
        for part in parts:
            code = compile(part, "actors.testing", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            await run(code, names)
    finally:
        del sys.modules["counting"]


async def run(code: CodeType, names: dict[str, Any]) -> None:
    pending = eval(code, names)
    if pending is not None:
        await pending
