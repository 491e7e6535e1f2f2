"""What a stranger does wrong, or leaves out: the error says what it was, at once, and names the way out."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from counter import Counter
from probe import Setup, cluster

import actors
from actors import Actor, ActorsError, ActorUnavailable, BadCall, CallFailed, Database, Namespace, Node, NodeSettings
from actors import errors as tree
from actors.messages import MAX_NAME, MAX_NAMESPACE
from actors.testing import Cluster, FakeClock, run_in_actor
from actors.turn import MAX_KEY

EXAMPLES = Path(__file__).parents[2] / "examples"


class Odd(Actor):
    """Stores and is called as an actor may not."""

    def plain(self) -> int:
        return 1

    @actors.scheduled()
    async def later(self) -> None: ...

    async def put(self, key: str) -> None:
        self.ctx.storage.put(key, 1)

    async def put_what_cannot_be(self) -> None:
        self.ctx.storage.put("lock", asyncio.Lock())

    async def put_under_a_number(self) -> None:
        self.ctx.storage.put(3, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("x" * (MAX_NAME + 1), ValueError, "has 513 bytes and may have 512"),
        ("é" * MAX_NAME, ValueError, "has 1024 bytes"),
        ("a\0b", ValueError, r"'a\\x00b'.* cannot store"),
        ("\ud800", ValueError, r"'\\ud800'.* cannot store"),
        (3, TypeError, "3 is not"),
        (None, TypeError, "None is not"),
    ],
)
async def test_an_impossible_name_is_refused_at_once(database: Database, name: Any, error: type, says: str) -> None:
    names = Node(database=database, id="one").namespace("odd", Odd)
    with pytest.raises(error, match=says):
        names.get(name)
    with pytest.raises(error, match=says):
        await names.ensure(name, "later")


async def test_the_longest_names_and_keys_can_be_stored(database: Database) -> None:
    node = Node(database=database, id="one")
    names = node.namespace(secrets.token_hex(MAX_NAMESPACE // 2), Odd)
    async with node:
        for name in ("", secrets.token_hex(MAX_NAME // 2), "é" * (MAX_NAME // 2)):
            await names.get(name).put(secrets.token_hex(MAX_KEY // 2))
            assert name in await names.names()


async def test_a_class_that_cannot_be_an_actor_is_refused(database: Database) -> None:
    class Unknown(Actor):
        async def look(self, at: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    node = Node(database=database, id="one")
    with pytest.raises(TypeError, match=r"'odd' needs a class derived from Actor, and <class 'int'> is none"):
        node.namespace("odd", int)  # type: ignore[type-var]
    with pytest.raises(TypeError, match=r"Unknown\.look is annotated with .* 'Nowhere' is not defined"):
        node.namespace("odd", Unknown)
    with pytest.raises(ValueError, match="of a namespace has 65 bytes and may have 64"):
        node.namespace("x" * (MAX_NAMESPACE + 1), Odd)


async def test_a_call_that_cannot_be_says_why(database: Database) -> None:
    node = Node(database=database, id="one")
    odd = node.namespace("odd", Odd).get("a")
    async with node:
        for name, says in (("plain", "it is not async"), ("later", "it is a schedule"), ("puts", "did you mean 'put'")):
            with pytest.raises(AttributeError, match=says):
                getattr(odd, name)
        with pytest.raises(CallFailed, match="TypeError: the value of 'lock' cannot be stored: Encoding objects of"):
            await odd.put_what_cannot_be()
        with pytest.raises(CallFailed, match="TypeError: a key is text, and 3 is not"):
            await odd.put_under_a_number()
        with pytest.raises(BadCall, match=r"the argument 'key' of Odd\.put cannot be copied"):
            await odd.put(odd)  # type: ignore[arg-type]


async def test_a_node_has_one_life_and_knows_its_namespaces_by_then(database: Database) -> None:
    node = Node(database=database, id="one")
    counters = node.namespace("counter", Counter)
    with pytest.raises(ActorsError, match="has not been started"):
        await node.wait_failed()
    with pytest.raises(ActorUnavailable, match="has not started") as refused:
        await counters.get("a").increment()
    assert refused.value.ran == "no"
    async with node:
        assert await counters.get("a").increment() == 1
        with pytest.raises(ActorsError, match="must be declared before the node starts"):
            node.namespace("odd", Odd)
        with pytest.raises(ActorsError, match="has been started before"):
            await node.__aenter__()
        assert await counters.get("a").increment() == 2
    with pytest.raises(ActorsError, match="has been started before"):
        await node.__aenter__()


@pytest.mark.parametrize("half", [{"address": "http://127.0.0.1:1"}, {"cluster_key": "k"}])
@pytest.mark.parametrize("whole", [{}, {"address": "", "cluster_key": "k"}, {"address": "http://a", "cluster_key": ""}])
def test_an_address_needs_a_key_and_a_key_an_address(half: dict[str, str], whole: dict[str, str]) -> None:
    database = Database("postgresql://nowhere")
    for given in (half, whole or half):
        with pytest.raises(ValueError, match="one alone neither"):
            Node(database=database, id="one", **given)


async def test_a_node_without_an_address_keeps_its_actors_to_itself(database: Database) -> None:
    lonely = Node(database=database, id="lonely")
    with pytest.raises(ActorsError, match="no address and no cluster_key"):
        lonely.routes()
    hers = lonely.namespace("counter", Counter)

    def declare(node: Node) -> Namespace[Counter]:
        return node.namespace("counter", Counter)

    async with Cluster(database, 1, declare=declare) as others:
        [theirs] = others.declared
        async with lonely:
            assert await hers.get("a").increment() == 1
            assert await theirs.get("b").increment() == 1
            for stranger in (theirs.get("a", timeout=1.0), hers.get("b", timeout=1.0)):
                with pytest.raises(ActorUnavailable, match=r"did not run: .* no address and no cluster_key") as why:
                    await stranger.increment()
                assert why.value.ran == "no"
        assert await theirs.get("a").increment() == 2


async def test_all_turns_are_counted_also_those_beside_calls(alone: Setup) -> None:
    async def look(_: Actor) -> None: ...

    stub = alone.get()
    await stub.increment()
    await stub.set()
    await run_in_actor(stub, look)
    done = alone.node.statistics()
    assert done.committed_turns <= done.turns
    assert done.turns >= 4  # one of them loaded the actor


async def test_a_clock_is_installed_again_and_time_does_not_go_back(database: Database) -> None:
    first, second, third = FakeClock(), FakeClock(), FakeClock(datetime(2040, 1, 1, tzinfo=UTC))
    await first.install(database)
    await first.advance(3600)
    await second.install(database)
    assert second.now() == first.now()
    async with cluster(database, 1, clock=second) as nodes:
        probe = nodes.declared[0]
        await probe.get().set(seconds=60)
        await second.advance(60)
        await asyncio.wait_for(_run(probe), 10)
    await third.install(database)
    assert await database.pool.fetchval("SELECT actors_now()") == third.now() == datetime(2040, 1, 1, tzinfo=UTC)
    assert second.now() - first.now() == timedelta(seconds=60)


async def _run(setup: Setup) -> None:
    while "alarm" not in setup.world.events:
        await asyncio.sleep(0.01)


def test_every_error_of_the_tree_can_be_caught_by_its_public_name() -> None:
    errors = {name for name, one in vars(tree).items() if isinstance(one, type) and issubclass(one, ActorsError)}
    assert errors <= set(actors.__all__)


def test_settings_cannot_be_mistyped() -> None:
    with pytest.raises(TypeError, match="lease"):
        NodeSettings(lease=3)  # type: ignore[call-arg]
    assert msgspec.structs.asdict(NodeSettings())["lease_ttl"] == 12.0


def test_an_example_fits_on_a_page() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert {name: size for name, size in lines.items() if size >= 60} == {}
