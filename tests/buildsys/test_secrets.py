"""Secrets and variables as they are kept: names, places, sealing, and what the database alone would tell."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from io import BytesIO
from uuid import uuid4

import pytest

from actors import Database
from buildsys.core.project import Project, ProjectSettings
from buildsys.core.secret_names import GITHUB_TOKEN, LARGEST_VALUE, LONGEST_NAME, Kind, check_value, stored_name
from buildsys.errors import Invalid, NotFound
from buildsys.store.cipher import Cipher
from buildsys.store.projects import Projects
from buildsys.store.secrets import Secrets, ValueSealed, Variables

KEY = bytes(range(32))
VALUE = "correct horse battery staple \N{SNOWMAN}"

MakeProject = Callable[[str], Awaitable[Project]]


@pytest.fixture
def secrets(database: Database) -> Secrets:
    return Secrets(database=database, cipher=Cipher(key=KEY))


@pytest.fixture
def variables(database: Database) -> Variables:
    return Variables(database=database, cipher=Cipher(key=KEY))


@pytest.fixture
def make(database: Database) -> MakeProject:
    projects = Projects(database=database, cipher=Cipher(key=bytes(32)))

    async def make(name: str) -> Project:
        return await projects.create(name, ProjectSettings(repository="https://git.example/shop.git"))

    return make


@pytest.mark.parametrize(
    ("given", "stored", "rule"),
    [
        ("DEPLOY_KEY", "DEPLOY_KEY", "letters, digits and underscores"),
        ("a1", "A1", "stored in upper case however it was entered"),
        ("_1", "_1", "an underscore may come first"),
        ("MY_GITHUB_KEY", "MY_GITHUB_KEY", "only the beginning GITHUB_ is taken"),
        ("GITHUB", "GITHUB", "without the underscore it is no such beginning"),
        ("X" * LONGEST_NAME, "X" * LONGEST_NAME, "of any sane length"),
    ],
)
@pytest.mark.parametrize("kind", ["secret", "variable"])
def test_a_name_is_what_github_takes(given: str, stored: str, rule: str, kind: Kind) -> None:
    assert stored_name(given, kind) == stored, rule


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "1 to 255 characters"),
        ("X" * (LONGEST_NAME + 1), "not 256"),
        ("1KEY", "begin with a digit"),
        ("MY KEY", "not ' '"),
        ("MY-KEY", "not '-'"),
        ("KEY=hunter2", "not '='"),
        ("KEY\n", "not '\\n'"),
        ("K\0Y", "not '\\x00'"),
        ("SCHLÜSSEL", "not 'Ü'"),
        ("\u017fKEY", "not '\u017f'"),  # whose upper case is S
        ("GITHUB_KEY", "begin with GITHUB_"),
        ("github_key", "begin with GITHUB_"),
    ],
)
def test_what_is_no_name_is_refused_without_repeating_it(given: str, said: str) -> None:
    for kind in ("secret", "variable"):
        with pytest.raises(Invalid) as refused:
            stored_name(given, kind)
        assert said in str(refused.value)
        assert "hunter2" not in str(refused.value)


def test_the_token_of_github_may_be_set_as_a_secret_only() -> None:
    assert stored_name("github_token", "secret") == GITHUB_TOKEN
    with pytest.raises(Invalid, match="GITHUB_"):
        stored_name(GITHUB_TOKEN, "variable")


def test_a_value_is_text_of_at_most_48_kib() -> None:
    for value in ("x", "x" * LARGEST_VALUE, "-----BEGIN\r\n\tKEY-----\n", "\N{SNOWMAN}"):
        check_value(value, "KEY")
    for value in (
        "",
        "x" * (LARGEST_VALUE + 1),
        "\N{SNOWMAN}" * (LARGEST_VALUE // 3 + 1),
        "hunter2\0",
        "hunter2\ud800",
    ):
        with pytest.raises(Invalid, match="KEY") as refused:
            check_value(value, "KEY")
        assert "hunter2" not in str(refused.value)


async def test_a_build_is_given_what_it_names_and_the_projects_own_first(secrets: Secrets, make: MakeProject) -> None:
    shop, other = await make("shop"), await make("other")
    _, made = await secrets.set("token", "of all", project=None, by="alice")
    assert made
    await secrets.set("Token", "of the shop", project=shop, by="alice")
    await secrets.set("KEY", "k", project=shop, by="alice")
    await secrets.set("ELSE", "not asked for", project=shop, by="alice")
    assert await secrets.named(shop.id, ["TOKEN", "key", "Token", "NONE"]) == {"TOKEN": "of the shop", "KEY": "k"}
    assert await secrets.named(other.id, ["TOKEN", "KEY"]) == {"TOKEN": "of all"}
    assert await secrets.named(shop.id, []) == {}
    assert await secrets.named(uuid4(), ["TOKEN"]) == {}

    await secrets.remove("token", project=shop)
    assert await secrets.named(shop.id, ["TOKEN"]) == {"TOKEN": "of all"}
    with pytest.raises(NotFound, match="project shop has no secret TOKEN of its own"):
        await secrets.remove("TOKEN", project=shop)
    await secrets.remove("TOKEN", project=None)
    assert await secrets.named(shop.id, ["TOKEN"]) == {}
    with pytest.raises(NotFound, match="no secret TOKEN for all projects"):
        await secrets.remove("TOKEN", project=None)


async def test_missing_ones_are_told_as_they_are_written(secrets: Secrets, make: MakeProject) -> None:
    shop = await make("shop")
    await secrets.set("HERE", "x", project=None, by="alice")
    hostile = ["a\0b", "a-b", "1", "", "x" * 10_000, "'; DROP TABLE named_values; --"]
    assert await secrets.missing(shop.id, ["here", "Gone", "github_token", *hostile]) == ["Gone", *hostile]
    assert await secrets.named(shop.id, ["here", *hostile]) == {"HERE": "x"}


async def test_the_token_of_github_is_given_where_it_was_set(secrets: Secrets, make: MakeProject) -> None:
    shop = await make("shop")
    assert await secrets.named(shop.id, [GITHUB_TOKEN]) == {}
    await secrets.set(GITHUB_TOKEN, "ghs_x", project=shop, by="alice")
    assert await secrets.named(shop.id, [GITHUB_TOKEN]) == {GITHUB_TOKEN: "ghs_x"}


async def test_a_list_says_who_set_what_when_and_no_value(secrets: Secrets, make: MakeProject) -> None:
    shop, other = await make("shop"), await make("other")
    assert await secrets.list(None) == []
    first, _ = await secrets.set("TOKEN", VALUE, project=None, by="alice")
    again, made = await secrets.set("TOKEN", "other", project=None, by="bob")
    assert not made
    assert again.set_at > first.set_at
    await secrets.set("TOKEN", VALUE, project=shop, by="carol")
    await secrets.set("KEY", VALUE, project=shop, by="carol")
    assert [(each.name, each.scope, each.set_by) for each in await secrets.list(None)] == [("TOKEN", "account", "bob")]
    assert [(each.name, each.scope, each.set_by) for each in await secrets.list(shop)] == [
        ("KEY", "project", "carol"),
        ("TOKEN", "project", "carol"),
    ]
    assert await secrets.list(other) == [again]
    assert {each.value for each in await secrets.list(shop)} == {None}


async def test_secrets_and_variables_do_not_mix(secrets: Secrets, variables: Variables, make: MakeProject) -> None:
    shop = await make("shop")
    await secrets.set("NAME", "hidden", project=shop, by="alice")
    await variables.set("NAME", "shown", project=None, by="alice")
    await variables.set("REGION", "all", project=None, by="alice")
    await variables.set("REGION", "shop", project=shop, by="alice")
    assert await secrets.named(shop.id, ["NAME", "REGION"]) == {"NAME": "hidden"}
    assert await variables.of_project(shop.id) == {"NAME": "shown", "REGION": "shop"}
    assert [(each.name, each.value, each.scope) for each in await variables.list(shop)] == [
        ("NAME", "shown", "account"),
        ("REGION", "shop", "project"),
    ]
    await variables.remove("NAME", project=None)
    assert await secrets.named(shop.id, ["NAME"]) == {"NAME": "hidden"}


async def test_what_a_project_had_goes_with_it(database: Database, secrets: Secrets, make: MakeProject) -> None:
    shop = await make("shop")
    await secrets.set("KEY", VALUE, project=shop, by="alice")
    await secrets.set("TOKEN", VALUE, project=None, by="alice")
    await Projects(database=database, cipher=Cipher(key=bytes(32))).delete("shop")
    assert await database.pool.fetchval("SELECT array_agg(name) FROM named_values") == ["TOKEN"]
    with pytest.raises(NotFound, match="has been removed"):
        await secrets.set("KEY", VALUE, project=shop, by="alice")


async def test_another_key_opens_nothing_and_says_the_way_out(
    database: Database, secrets: Secrets, variables: Variables, make: MakeProject
) -> None:
    shop = await make("shop")
    await secrets.set("KEY", VALUE, project=shop, by="alice")
    await secrets.set("TOKEN", VALUE, project=None, by="alice")
    await variables.set("REGION", VALUE, project=None, by="alice")
    stranger = Cipher(key=bytes(32))
    for name, way_out in (("KEY", "buildsys secret set KEY --project"), ("TOKEN", "buildsys secret set TOKEN")):
        with pytest.raises(ValueSealed, match=rf"secret {name} .* secret\.key.*{way_out}") as refused:
            await Secrets(database=database, cipher=stranger).named(shop.id, [name])
        assert VALUE not in str(refused.value)
    with pytest.raises(ValueSealed, match="buildsys variable set REGION"):
        await Variables(database=database, cipher=stranger).list(None)
    assert len(await Secrets(database=database, cipher=stranger).list(shop)) == 2  # so that one knows what to set anew


@pytest.mark.parametrize(
    "change",
    [
        "project = (SELECT id FROM projects WHERE name = 'thief')",
        "project = NULL",
        "name = 'SHOWN'",
        "kind = 'variable'",
        "value = set_byte(value, 20, 255 - get_byte(value, 20))",
        "value = ''",
    ],
)
async def test_a_row_that_is_moved_renamed_or_altered_does_not_open(
    database: Database, secrets: Secrets, variables: Variables, make: MakeProject, change: str
) -> None:
    shop, thief = await make("shop"), await make("thief")
    await secrets.set("KEY", VALUE, project=shop, by="alice")
    assert await secrets.named(shop.id, ["KEY"]) == {"KEY": VALUE}
    await database.pool.execute(f"UPDATE named_values SET {change}")
    refused = 0
    for project in (shop.id, thief.id):
        for reading in (secrets.named(project, ["KEY", "SHOWN"]), variables.of_project(project)):
            try:
                assert await reading == {}
            except ValueSealed:
                refused += 1
    assert refused >= 1


async def test_the_database_alone_tells_no_value(
    database: Database, secrets: Secrets, variables: Variables, make: MakeProject
) -> None:
    shop = await make("shop")
    for project in (None, shop):
        await secrets.set("KEY", VALUE, project=project, by="who set it")
        await variables.set("REGION", VALUE, project=project, by="who set it")
    dump = await dumped(database)
    for kept in (b"KEY", b"who set it", shop.id.bytes.hex().encode()[:8]):
        assert kept in dump
    plain = VALUE.encode()
    for form in (plain, plain.hex().encode(), base64.b64encode(plain), b"battery", b"battery".hex().encode()):
        assert form not in dump
    values = [row["value"] for row in await database.pool.fetch("SELECT value FROM named_values")]
    assert len(set(values)) == 4  # the same value twice does not look the same


async def dumped(database: Database) -> bytes:
    """Every table as text, as a dump would have it."""
    tables = await database.pool.fetch("SELECT schemaname, tablename FROM pg_tables WHERE schemaname = 'public'")
    output = BytesIO()
    async with database.pool.acquire() as connection:
        for table in tables:
            await connection.copy_from_table(table["tablename"], schema_name=table["schemaname"], output=output)
    return output.getvalue()
