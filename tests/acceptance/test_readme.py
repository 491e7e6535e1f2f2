"""What the README says of settings, routes, commands, imports and dependencies is what there is."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from readme import ROOT, TEXT, block, blocks, table

from buildsys.adapters.github import GitHub
from buildsys.cli import main
from buildsys.config import Config, Field
from buildsys.core import workflow_file
from buildsys.core.build import Outcome, State
from buildsys.web.app import Services, routes
from buildsys.web.auth import ADMIN, PUBLIC, RUNNER, Authentication
from buildsys.web.services import Stores, WebSettings

ROLES = {PUBLIC: "public", ADMIN: "admin", RUNNER: "runner"}
SETTINGS = "| Option | Variable | Takes | Default | What |"
API = "| Method | Path | Role | What |"
PICTURE = re.compile(r"^\d  (?P<rooms>\w+(?: \w+)*) +→  (?P<imported>(?:\w+ ?)*)(?: {2,}|$)", re.MULTILINE)


def test_the_table_of_settings_is_that_of_the_program() -> None:
    expected = [_setting(field) for field in Config.fields()]
    assert table(SETTINGS) == expected, "it should be:\n" + "\n".join([SETTINGS, "|---|---|---|---|---|", *expected])


def test_the_table_of_routes_is_that_of_the_application() -> None:
    written = [row.split(" | ")[:3] for row in table(API)]
    assert [(method.removeprefix("| "), path.strip("`"), role) for method, path, role in written] == _routes()


def test_every_command_is_told_of() -> None:
    told = "\n".join(text for _, text in blocks("sh")) + "\n".join(re.findall(r"`([^`\n]+)`", TEXT))
    for command in main.list_commands(click.Context(main)):
        assert re.search(rf"\b{command}\b", told), command


def test_every_option_is_one_of_a_command() -> None:
    known = {option for command in _commands(main) for parameter in command.params for option in parameter.opts}
    told = {option for code in re.findall(r"`([^`\n]+)`", TEXT) for option in re.findall(r"(?<![\w-])--[a-z-]+", code)}
    assert told - known == {"--help", "--server-url"}
    assert "(where `--server-url` is `--server`)" in TEXT


def test_the_unit_starts_the_server_with_options_it_has() -> None:
    unit = block("ini", containing="ExecStart")
    (start,) = re.findall(r"^ExecStart=\S+/buildsys (.+)$", unit, re.MULTILINE)
    command = main.get_command(click.Context(main), "up")
    assert command is not None
    name, *arguments = start.split()
    assert name == "up"
    command.make_context(name, arguments)


def test_the_picture_of_the_house_is_how_it_is_built() -> None:
    picture = {
        room: {*line["imported"].split(), room}
        for line in PICTURE.finditer(block("text", containing="→"))
        for room in line["rooms"].split()
    }
    free = {"app", "cli", "testing"}
    rooms = {path.name for path in (ROOT / "buildsys").iterdir() if (path / "__init__.py").exists()} | {"actors"}
    assert rooms <= picture.keys() | free
    for room, allowed in picture.items():
        assert _imports(room) <= allowed, f"{room} imports {_imports(room) - allowed}"


def test_every_key_of_a_workflow_is_told_of() -> None:
    """Those that the decoder says it knows."""
    known = re.search(r"(?:^ {4}.+\n)+", workflow_file.__doc__ or "", re.MULTILINE)
    assert known is not None
    keys = set(re.findall(r"[a-z][a-z-]+(?![\w.[])", known[0])) - {"jobs", "or", "on"}
    told = "\n".join(table("| Key | Here |"))
    for key in keys:
        assert re.search(rf"`(?:[\w.*\[\]]+\.)?{key}`", told), key


def test_the_words_name_all_states_and_outcomes() -> None:
    told = "\n".join(table("| Word | Meaning |"))
    for word in (*State, *Outcome):
        assert re.search(rf"\b{word}\b", told), word


def test_every_dependency_is_told_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[>=<~!\[]", wanted)[0] for wanted in project["dependencies"]]
    assert sorted(row.split(" | ")[0].removeprefix("| ") for row in table("| Dependency | What for |")) == sorted(names)
    for wanted in project["optional-dependencies"]["dev"]:
        assert re.split(r"[>=<~!\[]", wanted)[0] in TEXT


def test_the_checks_are_those_of_ci() -> None:
    (checks,) = [text.splitlines() for state, text in blocks("sh") if state == "check"]
    assert checks == (ROOT / ".ci/run").read_text().splitlines()[-len(checks) :]


def test_what_it_links_to_is_there() -> None:
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", TEXT, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (ROOT / target).exists(), target


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_it_keeps_to_the_words_of_the_house(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    strange = r"\b(?:tasks?|workers?|agents?|masters?|slaves?|managers?|handlers?|helpers?|utils)\b|/work\b|/tmp\b"
    assert re.findall(strange, text, re.IGNORECASE) == []


def _commands(group: click.Group) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield command
        if isinstance(command, click.Group):
            yield from _commands(command)


def _setting(field: Field) -> str:
    option = f"`{field.option}`" if field.option else "none"
    return f"| {option} | `{field.env}` | {field.expected} | {field.default or 'none'} | {field.help} |"


def _routes() -> list[tuple[str, str, str]]:
    """Method, path and role of every route; nothing is called, so nobody needs to be there to be called."""
    nobody: Any = None
    settings = WebSettings(public_url="http://localhost", session_key=bytes(32), allow_local_repositories=False)
    found = routes(
        stores=Stores(
            projects=nobody,
            builds=nobody,
            deliveries=nobody,
            logs=nobody,
            tokens=nobody,
            secrets=nobody,
            variables=nobody,
        ),
        services=Services(
            builder=nobody,
            dispatcher=nobody,
            hints=nobody,
            forge=GitHub(),
            ready=nobody,
            learn_schedules=nobody,
            verification=nobody,
        ),
        settings=settings,
        authentication=Authentication(tokens=nobody, settings=settings),
        feed=nobody,
    )
    return [(route.method, route.path.replace(":.+", ""), ROLES[route.access]) for route in found]


def _imports(room: str) -> set[str]:
    """The rooms that a room's files import."""
    place = ROOT / room if room == "actors" else ROOT / "buildsys" / room
    files = place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
    return {name for file in files for name in _imported(file)}


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            modules = (
                [f"{node.module}.{name.name}" for name in node.names] if node.module == "buildsys" else [node.module]
            )
        elif isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        else:
            continue
        for parts in ((module or "").split(".") for module in modules):
            if parts[0] in ("actors", "buildsys"):
                yield parts[0] if parts[0] == "actors" else parts[1]
