"""Storage: what is read is what was written, in this turn or any before it, in memory or not."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from probe import Setup, until

from actors import Database, memory, storage, waking
from actors.queries import Query
from actors.storage import Storage
from actors.testing import evict, run_in_actor

KEYS = [
    "",
    "a",
    "a\x01",
    "a/",
    "a/1",
    "a/10",
    "a/2",
    "b",
    "b/\ud7ff",
    "b/\ue000",
    "é",
    "\uffee",
    "\U0001f600",
    "\U0010ffff",
]


async def inside(setup: Setup, use: Callable[[Storage], Awaitable[Any]]) -> Any:
    return await run_in_actor(setup.get(), lambda probe: use(probe.ctx.storage))


def reads(database: Database) -> list[int]:
    """How many rows each query of storage reads from now on."""
    sizes: list[int] = []
    many = database.many

    async def watched(query: Query, **params: Any) -> Any:
        rows = await many(query, **params)
        if query.name.startswith("storage"):
            sizes.append(len(rows))
        return rows

    database.many = watched  # type: ignore[method-assign]
    return sizes


def listed(model: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """What a listing must give."""
    keys = [
        key
        for key in sorted(model, key=str.encode)
        if key.startswith(arguments.get("prefix", ""))
        and key.encode() >= arguments.get("start", "").encode()
        and (arguments.get("after") is None or key.encode() > arguments["after"].encode())
        and (arguments.get("stop") is None or key.encode() < arguments["stop"].encode())
    ]
    if arguments.get("reverse"):
        keys.reverse()
    return {key: model[key] for key in keys[: arguments.get("limit")]}


def some_arguments(chance: random.Random) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "prefix": chance.choice(["", "a", "a/", "b", "\U0010ffff"]),
        "start": chance.choice(KEYS),
        "after": chance.choice(KEYS),
        "stop": chance.choice(KEYS),
        "reverse": chance.random() < 0.5,
        "limit": chance.randrange(0, 20),
    }
    return {name: value for name, value in wanted.items() if chance.random() < 0.4}


@pytest.mark.parametrize("seed", range(6))
async def test_it_is_a_dict_whatever_is_forgotten_in_between(
    alone: Setup, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(memory, "_HALF", [400, 3000, 1 << 19][seed % 3])
    monkeypatch.setattr(waking, "SMALL_KEYS", [0, 6, 256][seed % 3])
    monkeypatch.setattr(storage, "PAGE", 3)
    chance = random.Random(seed)
    model: dict[str, Any] = {}

    def key() -> str:
        return chance.choice(KEYS) + chance.choice(["", "", str(chance.randrange(30))])

    async def a_turn(own: Storage) -> None:
        for _ in range(chance.randrange(1, 8)):
            match chance.randrange(8):
                case 0 | 1:
                    one, value = key(), [chance.random()] * chance.randrange(20)
                    own.put(one, value)
                    model[one] = value
                case 2:
                    some = {key(): chance.random() for _ in range(chance.randrange(12))}
                    own.put_many(some)
                    model.update(some)
                case 3:
                    gone = [key() for _ in range(3)]
                    own.delete(*gone)
                    for one in gone:
                        model.pop(one, None)
                case 4:
                    one = key()
                    assert await own.get(one) == model.get(one)
                case 5:
                    wanted = [key() for _ in range(6)]
                    assert await own.get_many(wanted) == {one: model[one] for one in wanted if one in model}
                case _:
                    arguments = some_arguments(chance)
                    found = await own.list(**arguments)
                    assert list(found.items()) == list(listed(model, arguments).items()), arguments
        if chance.random() < 0.05:
            assert await own.delete_all() == len(model)
            model.clear()

    for _ in range(60):
        await inside(alone, a_turn)
        if chance.random() < 0.3:
            await evict(alone.get())
    await evict(alone.get())
    assert await inside(alone, lambda own: own.list()) == model


async def test_a_small_limit_reads_little_of_much(alone: Setup, database: Database) -> None:
    async def fill(own: Storage) -> None:
        own.put_many({f"{n:05}": n for n in range(5000)})

    await inside(alone, fill)
    await evict(alone.get())
    sizes = reads(database)

    async def first_and_last(own: Storage) -> None:
        own.delete("00000", "04999")
        assert list(await own.list(limit=2)) == ["00001", "00002"]
        assert list(await own.list(limit=2, reverse=True)) == ["04998", "04997"]

    await inside(alone, first_and_last)
    assert sum(sizes) <= 12


async def test_pages_follow_each_other(alone: Setup) -> None:
    async def pages(own: Storage) -> None:
        own.put_many({f"{n:03}": n for n in range(300)})
        own.put("other", 1)
        found: list[int] = []
        after = None
        while page := await own.list(prefix="0", after=after, limit=7, type=int):
            found += page.values()
            after = list(page)[-1]
        assert found == list(range(100))
        stop = None
        while page := await own.list(prefix="0", stop=stop, limit=7, reverse=True, type=int):
            found += page.values()
            stop = list(page)[-1]
        assert found == [*range(100), *reversed(range(100))]

    await inside(alone, pages)


async def test_a_listing_too_large_for_memory_says_how_to_go_on(alone: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAX_LIST", 1 << 20)

    async def fill(own: Storage) -> None:
        own.put_many({f"{n:03}": b"x" * 100_000 for n in range(30)})

    await inside(alone, fill)
    await evict(alone.get())

    async def read(own: Storage) -> None:
        with pytest.raises(ValueError, match="page by page"):
            await own.list()
        assert len(await own.list(limit=9)) == 9
        with pytest.raises(ValueError, match="at once"):
            await own.get_many(map(str, range(129)))

    await inside(alone, read)


async def test_memory_is_bounded_also_of_one_that_only_writes(alone: Setup) -> None:
    async def write(own: Storage) -> None:
        own.put_many({f"{random.random()}": b"x" * 50_000 for _ in range(10)})

    for _ in range(12):
        await inside(alone, write)

    async def held(own: Storage) -> int:
        kept = own._memory.within("", None, "\U0010ffff")
        return sum(len(data or b"") for data in kept.values())

    assert await inside(alone, held) <= memory.BUDGET + 10 * 50_000
    assert len(await inside(alone, lambda own: own.list())) == 120


async def test_a_small_actor_is_read_without_asking_the_database(alone: Setup, database: Database) -> None:
    stub = alone.get()
    await stub.put("a", 1)
    await evict(stub)
    await stub.get("a")
    sizes = reads(database)
    assert (await stub.get("a"), await stub.get("b"), await stub.keys()) == (1, None, ["a"])
    assert sizes == []


async def test_activation_alone_writes_no_more_than_its_epoch(alone: Setup, database: Database) -> None:
    stub = alone.get()
    for _ in range(3):
        assert await stub.read() == 0
        await evict(stub)
    await until(lambda: alone.node.statistics().active == 0)
    assert alone.node.statistics().committed_turns == 0
    assert dict(await database.pool.fetchrow("SELECT epoch, seq FROM actors.actors")) == {"epoch": 3, "seq": 0}


async def test_what_is_on_its_way_into_the_database_is_never_forgotten(
    alone: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_HALF", 300)
    calls = []
    for n in range(200):
        calls.append(alone.get().put(f"{n:03}", n))
        calls.append(alone.get().get(f"{max(0, n - 3):03}"))
    results = [await call for call in calls]
    assert results[1::2] == [max(0, n - 3) for n in range(200)]
