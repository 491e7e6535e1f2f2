"""The driver's side of the zygote: starts it at the first order, and anew when it has died."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

from buildsys.adapters.process_zygote import ORDER_LIMIT
from buildsys.errors import DriverError

PROGRAM = "import sys; sys.path.append(sys.argv[1]); from buildsys.adapters.process_zygote import main; main()"
"""Run without site-packages (-S) and without our environment (-I): of this package the zygote needs its own files."""
ORDER_DEADLINE = 30.0


class ZygoteClient:
    """Sends orders to a zygote of its own; bound to the event loop of the first one. Close it."""

    def __init__(self, *, log: Path) -> None:
        self._log = log
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._socket: socket.socket | None = None
        self._orders = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def order(self, order: dict[str, Any]) -> dict[str, Any]:
        """Have a container supervised; returns the supervisor's answer. Raises `DriverError`."""
        async with self._starting:
            channel = self._socket or await self._start()
        self._orders += 1
        number = self._orders
        packet = json.dumps({**order, "id": number}).encode()
        if len(packet) > ORDER_LIMIT:
            raise DriverError(f"the labels of container {order['name']} are too long: {len(packet)} bytes")
        loop = asyncio.get_running_loop()
        self._answers[number] = loop.create_future()
        try:
            async with asyncio.timeout(ORDER_DEADLINE):
                await loop.sock_sendall(channel, packet)
                answer = await self._answers[number]
        except TimeoutError:
            raise DriverError(f"no supervisor for {order['name']} within {ORDER_DEADLINE:.0f} seconds") from None
        except OSError as error:
            raise DriverError(f"the zygote cannot be reached: {error}") from error
        finally:
            del self._answers[number]
        if "error" in answer:
            raise DriverError(f"container {order['name']} cannot be started: {answer['error']}")
        return answer

    async def close(self) -> None:
        """End the zygote. Supervisors go on."""
        self._disconnect("the driver is closed")
        if self._process:
            await self._process.wait()
            self._process = None

    async def _start(self) -> socket.socket:
        await self.close()
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", "-c", PROGRAM, str(Path(__file__).parents[2])),
                    stdin=its.fileno(),
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=log,
                    env={},
                    cwd="/",
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        finally:
            its.close()
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours, self._read)
        return ours

    def _read(self) -> None:
        assert self._socket
        try:
            packet = self._socket.recv(ORDER_LIMIT)
        except BlockingIOError:
            return
        except ConnectionError:
            packet = b""
        if not packet:
            self._disconnect(f"the zygote died: see {self._log}")
            return
        answer = json.loads(packet)
        waiting = self._answers.get(answer["id"])
        if waiting and not waiting.done():
            waiting.set_result(answer)

    def _disconnect(self, reason: str) -> None:
        if self._socket:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(DriverError(reason))
