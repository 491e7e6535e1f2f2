"""How the program speaks to its operator: one line an event, ours and the libraries' alike.

    configure("auto", "info", sys.stderr)
    log = structlog.get_logger("buildsys.web")
    structlog.contextvars.bind_contextvars(request=..., build=...)   # then in every line of that asyncio task
    log.info("build_started", runner=...)

An event is a few words without data in them; the data are its keys. Each build has three lines, `build_queued`,
`build_started` and `build_stopped`, and each job two of its runner, `job_taken` and `job_ended`, all with `build=`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRET = re.compile(
    r"(^|[_\-.\s])(secrets?|tokens?|passwords?|passwd|passphrase|credentials?|authorization|cookies?|dsn|"
    r"api_?keys?|private_?keys?|cluster_?keys?|database_?url)($|[_\-.\s])",
    re.IGNORECASE,
)
DROPPED = "[secret]"
QUIET = ("aiohttp.access", "asyncio")  # they speak of every request and loop at info


def configure(format: Literal["auto", "json", "console"], level: str, stream: TextIO) -> None:
    """Send what structlog and the standard library log, from `level` on, to `stream`; replaces an earlier call.

    `json` writes one object a line: `time` (ISO 8601, UTC), `level`, `logger`, `event`, the keys given, and an
    exception as text. `console` writes for people; `auto` is `console` on a terminal. Values under names that look
    secret are left out.
    """
    pretty = format == "console" or (format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        drop_secrets,
    ]
    rendering: list[Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(),
                timestamp_key="time",
                exception_formatter=structlog.dev.plain_traceback,  # the others print local variables, secrets included
            )
        ]
        if pretty
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
    output = logging.StreamHandler(stream)
    output.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level) if level != "debug" else logging.DEBUG)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(True)


def drop_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A processor that replaces values under names that look secret, in nested mappings and lists too."""
    return {key: DROPPED if SECRET.search(str(key)) else _without_secrets(value) for key, value in event.items()}


def _without_secrets(value: Any) -> Any:
    match value:
        case Mapping():
            return {
                key: DROPPED if SECRET.search(str(key)) else _without_secrets(entry) for key, entry in value.items()
            }
        case list():
            return [_without_secrets(entry) for entry in value]
        case _:
            return value
