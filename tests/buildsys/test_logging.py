"""What is logged arrives once, with its context and without secrets, whoever logs it."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from buildsys.logging import configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The log as pytest had it."""
    root = logging.getLogger()
    outputs, level = list(root.handlers), root.level
    yield
    root.handlers[:] = outputs
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_ours_and_the_libraries_lines_are_alike_and_carry_the_context() -> None:
    stream = io.StringIO()
    configure("auto", "info", stream)
    with structlog.contextvars.bound_contextvars(build="b1", request="r1"):
        structlog.get_logger("buildsys.web").info("build started", runner="r")
        logging.getLogger("aiohttp.server").warning("odd request from %s", "there", extra={"peer": "10.0.0.1"})
    ours, theirs = logged(stream)
    assert ours["event"] == "build started"
    assert (ours["logger"], ours["level"], ours["runner"]) == ("buildsys.web", "info", "r")
    assert (theirs["event"], theirs["peer"]) == ("odd request from there", "10.0.0.1")
    assert all((line["build"], line["request"]) == ("b1", "r1") for line in (ours, theirs))
    assert all(line["time"].endswith("Z") for line in (ours, theirs))


def test_secrets_are_left_out_at_any_depth() -> None:
    stream = io.StringIO()
    configure("json", "info", stream)
    names = ("token", "admin_token", "SECRET", "db-password", "Authorization", "api_key", "cookie", "database_url")
    log = structlog.get_logger()
    log.info("flat", **dict.fromkeys(names, "hush"))
    log.info("deep", request={"headers": [{"Authorization": "hush"}], "path": "/x"})
    logging.getLogger("lib").info("extra", extra={"password": "hush"})
    assert "hush" not in stream.getvalue()
    assert logged(stream)[1]["request"]["path"] == "/x"


def test_names_that_only_look_alike_stay() -> None:
    stream = io.StringIO()
    configure("json", "info", stream)
    structlog.get_logger().info("kept", tokenizer="a", secretary="b", key="c")
    assert {"tokenizer": "a", "secretary": "b", "key": "c"}.items() <= logged(stream)[0].items()


@pytest.mark.parametrize("format", ["json", "console"])
def test_an_error_is_told_without_local_variables(format: Any) -> None:
    stream = io.StringIO()
    configure(format, "info", stream)
    hidden = "hu" + "sh"
    try:
        int(hidden[2:])
    except ValueError:
        structlog.get_logger().exception("it failed")
    assert "ValueError: invalid literal" in stream.getvalue()
    assert "hush" not in stream.getvalue()


def test_below_the_level_there_is_silence_and_a_second_call_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("json", "debug", first)
    configure("json", "warning", second)
    structlog.get_logger().info("unheard")
    logging.getLogger("lib").info("unheard")
    structlog.get_logger().warning("heard")
    assert first.getvalue() == ""
    assert [line["event"] for line in logged(second)] == ["heard"]


def test_warnings_of_the_language_arrive_too() -> None:
    stream = io.StringIO()
    configure("json", "info", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("an old way", stacklevel=1)
    assert "an old way" in stream.getvalue()


def test_a_terminal_gets_lines_for_people() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    configure("auto", "info", stream)
    structlog.get_logger().info("build started", runner="r")
    assert "build started" in stream.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(stream.getvalue())
