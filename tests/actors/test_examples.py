"""The examples run, with `actors` alone, and hold what they promise; what the package's docstring shows is theirs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from chat_room import ChatRoom, follow
from rate_limiter import RateLimiter

import actors
from actors import ActorUnavailable, Database, Namespace, Node, NodeSettings
from actors.testing import Cluster, FakeClock, evict

EXAMPLES = Path(__file__).parents[2] / "examples"
ALONE = (
    "import runpy, sys; sys.modules['buildsys'] = None; del sys.argv[0]; runpy.run_path(sys.argv[0], {}, '__main__')"
)
"""Runs a program to which `import buildsys` is an ImportError."""

SNIPPET = re.compile(r"(?<=\n\n)    [^\n]*(?:\n+    [^\n]*)*")


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("counter", "counted from 1 to 100\n", "counted from 101 to 200\n"),
        ("rate_limiter", "3 of 5 were let through\n", "0 of 5 were let through\n"),
        ("chat_room", "hello bye\n", "hello bye\n"),
    ],
)
def test_an_example_goes_on_where_it_ended(postgres_dsn: str, name: str, first: str, second: str) -> None:
    program = [sys.executable, "-c", ALONE, EXAMPLES / f"{name}.py", postgres_dsn]
    runs = [subprocess.run(program, capture_output=True, text=True) for _ in range(2)]
    assert [run.stdout for run in runs] == [first, second], runs


async def test_the_limit_holds(database: Database) -> None:
    def declare(node: Node) -> Namespace[RateLimiter]:
        return node.namespace("rate_limiter", RateLimiter, lambda ctx: RateLimiter(ctx, rate=1.0, burst=3))

    clock = FakeClock()
    await clock.install(database)
    async with Cluster(database, 1, declare=declare, clock=clock) as cluster:
        alice = cluster.declared[0].get("alice")
        assert [await alice.take() for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]
        await evict(alice)
        assert await alice.take() == 1.0
        await clock.advance(1)
        assert await alice.take() == 0.0


async def test_tokens_do_not_pile_up_and_many_are_taken_or_none(database: Database) -> None:
    def declare(node: Node) -> Namespace[RateLimiter]:
        return node.namespace("rate_limiter", RateLimiter, lambda ctx: RateLimiter(ctx, rate=2.0, burst=4))

    clock = FakeClock()
    await clock.install(database)
    async with Cluster(database, 1, declare=declare, clock=clock) as cluster:
        alice, bob = cluster.declared[0].get("alice"), cluster.declared[0].get("bob")
        assert await alice.take(4) == 0.0
        assert await bob.take(4) == 0.0
        await clock.advance(1)
        assert await alice.take(3) == 0.5
        assert await alice.take(2) == 0.0
        await clock.advance(3600)
        assert await bob.take(5) == 0.5
        assert await bob.take(4) == 0.0


async def test_followers_get_each_message_once_through_a_node_s_death(database: Database) -> None:
    def declare(node: Node) -> Namespace[ChatRoom]:
        return node.namespace("chat_room", ChatRoom)

    texts = [f"message {number}" for number in range(300)]
    async with Cluster(database, 2, declare=declare, settings=NodeSettings(lease_ttl=2.0)) as cluster:
        dying, staying = (namespace.get("lobby") for namespace in cluster.declared)
        await dying.post(texts[0])
        async with asyncio.TaskGroup() as tasks:
            early = [tasks.create_task(_get(staying, len(texts))) for _ in range(3)]
            for text in texts[1:150]:
                await dying.post(text)
            await cluster.kill(cluster.nodes[0])
            await _is_back(staying)
            for text in texts[150:]:
                await staying.post(text)
            late = tasks.create_task(_get(staying, len(texts) - 200, after=200))
    assert [await follower for follower in early] == [texts] * 3
    assert await late == texts[200:]


async def test_nodes_share_a_counter_and_one_goes_on_without_the_other(postgres_dsn: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(_counting(postgres_dsn, _free_port())) for _ in range(2)]
        both = [await _count(process) for _ in range(2) for process in (first, second)]
        assert len(set(both)) == 4
        first.send_signal(signal.SIGINT)
        rest, _ = await first.communicate()
        alone = last = max([*both, *map(int, rest.split())])
        while alone <= last:
            alone = await _count(second)
        assert [await _count(second) for _ in range(2)] == [alone + 1, alone + 2]


def test_the_docstring_shows_what_is_run_here() -> None:
    assert actors.__doc__ is not None
    files = "".join(path.read_text() for path in (*EXAMPLES.glob("*.py"), Path(__file__)))
    known = [line.strip() for line in files.splitlines()]
    snippets = [textwrap.dedent(snippet) for snippet in SNIPPET.findall(actors.__doc__)]
    assert len(snippets) >= 3
    for snippet in snippets:
        lines = [line.strip() for line in snippet.splitlines()]
        size = len(lines)
        assert any(known[at : at + size] == lines for at in range(len(known))), snippet


async def _get(room: ChatRoom, size: int, after: int = 0) -> list[str]:
    """The first so many messages that a follower gets."""
    got: list[str] = []
    async for text in follow(room, after):
        got.append(text)
        if len(got) == size:
            break
    return got


async def _is_back(room: ChatRoom) -> None:
    """Wait until the room's next node answers."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(ActorUnavailable):
                await room.read(0)
                return
            await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextlib.asynccontextmanager
async def _counting(dsn: str, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ALONE, EXAMPLES / "cluster.py", dsn, str(port)),
        env={**os.environ, "PYTHONPATH": str(EXAMPLES)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _count(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        line = await process.stdout.readline()
    if not line and process.stderr is not None:
        raise AssertionError((await process.stderr.read()).decode())
    return int(line)
