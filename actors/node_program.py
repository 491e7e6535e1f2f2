"""The program of a `NodeProcess`: one node, and a door through which its test calls actors and sets traps."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

import msgspec
from aiohttp import web

from actors.clock import SystemClock
from actors.database import Database
from actors.faults import FaultPoints, Point
from actors.messages import Failure, Failures
from actors.namespace import Namespace
from actors.node import Node
from actors.shared import NodeSettings

PR_SET_PDEATHSIG = 1

CALL, TRAP, CLOCK, STATISTICS = "/_test/call", "/_test/trap", "/_test/clock", "/_test/statistics"


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What a node process is told when it starts. `address`: what other nodes call it by, where that is a detour."""

    id: str
    dsn: str
    declare: str
    path: list[str]
    settings: dict[str, float | int | bool]
    cluster_key: str
    address: str | None = None
    clock_shift: float = 0.0


class TestCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the process makes for its test."""

    __test__ = False

    namespace: str
    name: str
    method: str
    args: list[Any]


class Trap(msgspec.Struct, frozen=True, kw_only=True):
    """Stop at this moment, the first time or after so many."""

    point: Point
    skip: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a `TestCall`."""

    value: Any = None
    failure: Failure | None = None


class Stops(FaultPoints):
    """Stops this whole process, as SIGSTOP does, at the moment for which a trap is set."""

    def __init__(self) -> None:
        self.trap: Trap | None = None

    def reach(self, point: Point) -> None:
        trap = self.trap
        if trap is None or trap.point != point:
            return
        if trap.skip:
            self.trap = Trap(point=point, skip=trap.skip - 1)
            return
        self.trap = None
        os.kill(os.getpid(), signal.SIGSTOP)

    def reach_once_sent(self, point: Point) -> None:
        if self.trap is not None and self.trap.point == point:
            asyncio.get_running_loop().call_soon(self.reach, point)  # before the loop reads the answer


class ShiftedClock(SystemClock):
    """A machine whose clock is wrong by `shift` seconds."""

    def __init__(self, shift: float) -> None:
        self.shift = shift

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.shift)


class Door:
    """What the test asks of the process, over HTTP."""

    def __init__(self, *, node: Node, namespaces: dict[str, Namespace[Any]], stops: Stops, clock: ShiftedClock) -> None:
        self._node = node
        self._namespaces = namespaces
        self._stops = stops
        self._clock = clock
        self._failures = Failures(())

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(CALL, self._call),
            web.post(TRAP, self._trap),
            web.post(CLOCK, self._shift),
            web.get(STATISTICS, self._statistics),
        ]

    async def _call(self, request: web.Request) -> web.Response:
        call = msgspec.msgpack.decode(await request.read(), type=TestCall)
        stub = self._namespaces[call.namespace].get(call.name)
        try:
            answer = Answer(value=await getattr(stub, call.method)(*call.args))
        except Exception as error:  # the border of the call: its test is told
            answer = Answer(failure=self._failures.encode(error))
        return web.Response(body=msgspec.msgpack.encode(answer))

    async def _trap(self, request: web.Request) -> web.Response:
        self._stops.trap = msgspec.msgpack.decode(await request.read(), type=Trap)
        return web.Response()

    async def _shift(self, request: web.Request) -> web.Response:
        self._clock.shift = msgspec.msgpack.decode(await request.read(), type=float)
        return web.Response()

    async def _statistics(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.msgpack.encode(self._node.statistics()))


async def serve(program: Program, ready: Callable[[int], None]) -> None:
    """Run the node until SIGTERM, then let it drain. `ready` is told the port."""
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    stops, clock = Stops(), ShiftedClock(program.clock_shift)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    async with Database(program.dsn) as database:
        node = Node(
            database=database,
            id=program.id,
            address=program.address or f"http://127.0.0.1:{port}",
            cluster_key=program.cluster_key,
            clock=clock,
            settings=NodeSettings(**program.settings, faults=stops),  # type: ignore[arg-type]
        )
        module, _, function = program.declare.partition(":")
        namespaces = {one.name: one for one in getattr(import_module(module), function)(node)}
        app = web.Application()
        app.add_routes([*node.routes(), *Door(node=node, namespaces=namespaces, stops=stops, clock=clock).routes()])
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            async with node, asyncio.TaskGroup() as group:
                failed = group.create_task(node.wait_failed(), name="failed")
                ready(port)
                await terminated.wait()
                failed.cancel()
        finally:
            await runner.cleanup()


def main() -> None:
    """Read the program from standard input, and print the port once the node runs; all other output is the log."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a stopped process, too, ends with its test
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    program = msgspec.json.decode(sys.stdin.readline(), type=Program)
    sys.path[:0] = program.path
    asyncio.run(serve(program, lambda port: print(port, file=report, flush=True)))


if __name__ == "__main__":
    main()
