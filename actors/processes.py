"""Nodes as processes of their own on one database, which a test kills, pauses, disturbs and starts again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from actors.errors import ActorUnavailable
from actors.faults import Point
from actors.messages import Failures
from actors.node import Statistics
from actors.node_program import CALL, CLOCK, STATISTICS, TRAP, Answer, Program, TestCall, Trap
from actors.shared import NodeSettings

START_LIMIT = 30.0
"""Seconds in which a process must be ready, on a machine that is busy."""


class NodeProcess:
    """One node in a process of its own. What it prints is in `log`."""

    def __init__(self, *, program: Program, session: aiohttp.ClientSession, log: Path) -> None:
        self.id = program.id
        self.log = log
        self.url = ""
        self.port = 0
        self._program = program
        self._session = session
        self._process: asyncio.subprocess.Process | None = None
        self._failures = Failures(())

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended; it may be paused."""
        return self._process is not None and self._process.returncode is None

    @property
    def paused(self) -> bool:
        """Whether the kernel says that the process is stopped (state T)."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return self.alive and Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return False

    async def start(self) -> None:
        """Start, or start again under the same id, and wait until the node runs."""
        assert not self.alive
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "actors.node_program",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(self._program) + b"\n")
        async with asyncio.timeout(START_LIMIT):
            line = await process.stdout.readline()
        assert line, f"{self.id} did not start: {self.log.read_text()[-4000:]}"
        self.port = int(line)
        self.url = f"http://127.0.0.1:{self.port}"

    async def call(self, namespace: str, name: str, method: str, *args: Any, timeout: float = 30.0) -> Any:
        """Call an actor through a stub of this process.

        Raises what the stub raises, and `ActorUnavailable` where the process gives no answer in `timeout` seconds.
        """
        call = TestCall(namespace=namespace, name=name, method=method, args=list(args))
        try:
            body = await self._ask(CALL, call, timeout=timeout)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ActorUnavailable(f"no answer from {self.id} ({type(error).__name__})") from error
        answer = msgspec.msgpack.decode(body, type=Answer)
        if answer.failure is not None:
            raise self._failures.decode(answer.failure)
        return answer.value

    async def stop_at(self, point: Point, *, skip: int = 0) -> None:
        """Have the process pause itself when it next reaches this moment, or does so after `skip` times."""
        answer = asyncio.create_task(self._ask(TRAP, Trap(point=point, skip=skip)))
        try:
            while not (answer.done() or self.paused):  # it may reach the moment before it has answered
                await asyncio.wait([answer], timeout=0.01)
            if answer.done():
                answer.result()
        finally:
            answer.cancel()
            await asyncio.wait([answer])

    async def until_paused(self, seconds: float = 10.0) -> None:
        """Wait until the process is paused, by `pause` or at a moment given to `stop_at`."""
        async with asyncio.timeout(seconds):
            while not self.paused:
                assert self.alive, f"{self.id} has ended: {self.log.read_text()[-4000:]}"
                await asyncio.sleep(0.002)

    async def shift_clock(self, seconds: float) -> None:
        """Set the process's wall clock this much ahead of the machine's."""
        await self._ask(CLOCK, seconds)

    async def statistics(self) -> Statistics:
        """The node's numbers."""
        return msgspec.msgpack.decode(await self._ask(STATISTICS, None), type=Statistics)

    async def pause(self) -> None:
        """SIGSTOP: the process keeps its sockets, into which calls go on to be sent."""
        os.kill(self.pid, signal.SIGSTOP)
        await self.until_paused()

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL, paused or not."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def terminate(self) -> None:
        """SIGTERM, and wait for the end: the node drains."""
        assert self._process is not None
        self._process.terminate()
        await self._process.wait()

    def begin_to_drain(self) -> None:
        """SIGTERM, without waiting."""
        os.kill(self.pid, signal.SIGTERM)

    async def restart(self) -> None:
        """Drain, and start again under the same id."""
        await self.terminate()
        await self.start()

    async def _ask(self, path: str, message: object, *, timeout: float = 10.0) -> bytes:
        limit = aiohttp.ClientTimeout(total=timeout)
        body = None if message is None else msgspec.msgpack.encode(message)
        async with self._session.request(
            "GET" if body is None else "POST", self.url + path, data=body, timeout=limit
        ) as response:
            response.raise_for_status()
            return await response.read()


class ProcessCluster:
    """Processes named node-1, node-2 ... that run the same namespaces on one database. Used with `async with`.

    `declare` is "module:function": the function is given the node, declares its namespaces and returns them. The module
    is found where this process finds its own. The end of the block kills whatever is left.
    """

    def __init__(self, dsn: str, size: int, *, declare: str, settings: NodeSettings | None = None) -> None:
        self._dsn = dsn
        self._size = size
        self._declare = declare
        self._settings = settings or NodeSettings()
        self._open = contextlib.AsyncExitStack()
        self.nodes: list[NodeProcess] = []

    async def __aenter__(self) -> Self:
        self._session = await self._open.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        self._folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="nodes-")))
        try:
            await asyncio.gather(*(self.start(f"node-{number}") for number in range(1, self._size + 1)))
        except BaseException:
            await self._close()
            raise
        self.nodes.sort(key=lambda node: node.id)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for node in self.nodes:
                error.add_note(f"--- {node.id}\n{node.log.read_text()[-2000:]}")
        await self._close()

    async def start(
        self, id: str, *, dsn: str | None = None, address: str | None = None, clock_shift: float = 0.0
    ) -> NodeProcess:
        """Start a further process; `dsn` and `address` where its way to the database, or to it, is a detour."""
        settings = msgspec.structs.asdict(self._settings)
        del settings["faults"]
        program = Program(
            id=id,
            dsn=dsn or self._dsn,
            declare=self._declare,
            path=[path for path in sys.path if path],
            settings=settings,
            cluster_key="key of the cluster",
            address=address,
            clock_shift=clock_shift,
        )
        node = NodeProcess(program=program, session=self._session, log=self._folder / f"{id}.log")
        self.nodes.append(node)
        await node.start()
        return node

    async def _close(self) -> None:
        for node in self.nodes:
            if node.alive:
                await node.kill()
        await self._open.aclose()
