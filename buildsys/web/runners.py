"""/runner: what runners call, in msgpack."""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

import msgspec
import zstandard
from aiohttp import web

from buildsys.core.assignment import FRAME_LIMIT, LogBatch, Poll, Report
from buildsys.errors import Invalid
from buildsys.web.auth import IDENTITY
from buildsys.web.codec import BadRequest
from buildsys.web.services import Dispatcher

REPORT_LIMIT = 32 << 20
"""Bytes: a flooding step fills batches of up to 1 MiB, and a report gathers several."""

_Message = TypeVar("_Message", Poll, Report)


class RunnerRoutes:
    def __init__(self, *, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def poll(self, request: web.Request) -> web.Response:
        """A runner asks for work."""
        return _answer(await self._dispatcher.poll(_decode(await request.read(), Poll), token=request[IDENTITY].token))

    async def report(self, request: web.Request) -> web.Response:
        """A runner tells how a job goes on."""
        body = await request.clone(client_max_size=REPORT_LIMIT).read()
        report = _decode(body, Report)
        for item in report.items:
            if isinstance(item, LogBatch):
                _check_frame(item)
        return _answer(await self._dispatcher.report(report, token=request[IDENTITY].token))


def _decode(body: bytes, type: type[_Message]) -> _Message:
    try:
        message = msgspec.msgpack.decode(body, type=type)
        UUID(message.runner)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not msgpack: {error}") from None
    except ValueError:
        raise Invalid("Expected a UUID - at `$.runner`") from None
    return message


def _check_frame(batch: LogBatch) -> None:
    """Refuse output that no reader could be given: the frame's header says how much it holds. It is not unfolded."""
    try:
        size = batch.size
    except zstandard.ZstdError:
        raise Invalid("Expected a zstd frame - at `$.items[...].frame`") from None
    if not batch.lines <= size <= FRAME_LIMIT:
        raise Invalid(
            f"Expected a frame that says it holds from {batch.lines} to {FRAME_LIMIT} bytes, "
            f"not {size if size >= 0 else 'an unknown number'} - at `$.items[...].frame`"
        )


def _answer(value: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.msgpack.encode(value), content_type="application/msgpack")
