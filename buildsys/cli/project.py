"""`buildsys project`: add, change and remove projects."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from buildsys.cli.naming import project_path
from buildsys.cli.session import Session, api_command
from buildsys.cli.terminal import plain

LOOPBACK = ("127.0.0.1", "::1", "localhost")
CLEARABLE = ("image", "build_command", "deploy_command", "max_running", "credential")


@click.group()
def project() -> None:
    """Add, change and remove projects.

    \b
    Example:
      buildsys project add hello --repo https://example.org/hello.git
    """


def settings(command: Any) -> Any:
    """The options that say how a project is built."""
    for option in reversed(
        [
            click.option("--image", metavar="IMAGE", help="The image where there is no workflow file."),
            click.option("--build-command", metavar="SH", help="How to build without a workflow file."),
            click.option("--deploy-command", metavar="SH", help="What to run after a good build of it."),
            click.option("--max-running", type=click.IntRange(min=1), help="Builds of it that run at a time."),
            click.option(
                "--trusted/--untrusted", default=None, help="Whether its containers may reach out to the host; else no."
            ),
            click.option("--username", metavar="NAME", help="Whom to be when fetching; needs --password-stdin."),
            click.option("--password-stdin", is_flag=True, help="Read the password or access token from stdin."),
        ]
    ):
        command = option(command)
    return command


@project.command()
@click.argument("name")
@click.option("--repo", "repository", metavar="URL", help="The repository; http, https or ssh.")
@settings
@api_command
async def add(session: Session, name: str, repository: str | None, **options: Any) -> None:
    """Add a project and print what its webhook needs.

    Without --repo it is a build command alone, started by hand, which finds an empty folder.

    \b
    Examples:
      buildsys project add hello --repo https://example.org/hello.git
      buildsys project add site --repo https://example.org/site.git --username ci --password-stdin < password
      buildsys project add backup --image postgres:18 --build-command "pg_dump --version"
    """
    given = {key: value for key, value in _given(options).items() if value is not None}
    if repository is not None:
        given["repository"] = _absolute(repository)
    made = await session.client.post("/projects", {"name": name, **given})
    if session.json:
        session.terminal.answer(made)
        return
    session.terminal.say(f"Project {name} is there. Build it now: buildsys build start {name} --follow")
    if not made["repository"]:
        return
    webhook = made["webhook"]
    if "secret" not in webhook:
        webhook = await session.client.get(f"{project_path(name)}/webhook")
    session.terminal.say("\nFor a build of every push, add a webhook in the repository's settings")
    session.terminal.say("(GitHub: Settings, Webhooks, Add webhook) and paste:\n")
    _print_webhook(session, webhook)
    session.terminal.say(f"\nTo see this again: buildsys project show {name} --webhook")


@project.command(name="list")
@api_command
async def list_(session: Session) -> None:
    """List the projects, each with its latest build.

    \b
    Example:
      buildsys project list
    """
    found, after = list[dict[str, Any]](), None
    while True:
        page = await session.client.get("/projects", after=after)
        found += page["projects"]
        after = page["next"]
        if after is None:
            break
    if session.json:
        session.terminal.answer(found)
    elif not found:
        session.terminal.say("There are no projects yet. Add one: buildsys project add NAME --repo URL")
    else:
        rows = [
            [each["name"], plain(each["repository"]) or "none", _latest(session, each["latest_build"])]
            for each in found
        ]
        session.terminal.table(["project", "repository", "latest build"], rows)


@project.command()
@click.argument("name")
@click.option("--webhook", is_flag=True, help="Show what to paste into the forge's webhook settings, the secret too.")
@api_command
async def show(session: Session, name: str, webhook: bool) -> None:
    """Show a project's settings.

    \b
    Example:
      buildsys project show hello --webhook
    """
    found = await session.client.get(f"{project_path(name)}/webhook" if webhook else project_path(name))
    if session.json:
        session.terminal.answer(found)
    elif webhook:
        _print_webhook(session, found)
    else:
        _print_project(session, found)


@project.command(name="set")
@click.argument("name")
@click.option("--repo", "repository", metavar="URL", help="Another place for the repository.")
@settings
@click.option("--clear", multiple=True, type=click.Choice(CLEARABLE), help="Take a setting back; may be repeated.")
@api_command
async def set_(session: Session, name: str, repository: str | None, clear: tuple[str, ...], **options: Any) -> None:
    """Change a project; what is not given stays.

    \b
    Examples:
      buildsys project set hello --max-running 2
      buildsys project set hello --clear credential --clear image
    """
    changes = {key: value for key, value in _given(options).items() if value is not None}
    changes |= dict.fromkeys(clear)
    if repository is not None:
        changes["repository"] = _absolute(repository)
    if not changes:
        raise click.UsageError("Nothing to change was given; see buildsys project set --help.")
    changed = await session.client.patch(project_path(name), changes)
    if session.json:
        session.terminal.answer(changed)
    else:
        _print_project(session, changed)


@project.command()
@click.argument("name")
@api_command
async def deliveries(session: Session, name: str) -> None:
    """List what the project's forge sent, and what became of it: what built nothing is here with the reason.

    \b
    Example:
      buildsys project deliveries hello
    """
    found = (await session.client.get(f"{project_path(name)}/deliveries"))["deliveries"]
    if session.json:
        session.terminal.answer(found)
    elif not found:
        session.terminal.say(f"Nothing has come yet. What its forge needs: buildsys project show {name} --webhook")
    else:
        rows = [
            [
                each["received_at"][:19].replace("T", " "),
                plain(each["event"]),
                session.terminal.word(each["outcome"] or "pending"),
                plain(each["reason"]) if each["reason"] else " ".join(build[:8] for build in each["builds"]),
            ]
            for each in found
        ]
        session.terminal.table(["received (UTC)", "event", "outcome", "builds, or why there are none"], rows)


@project.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_command
async def rm(session: Session, name: str, yes: bool) -> int:
    """Remove a project with its builds and logs.

    \b
    Example:
      buildsys project rm hello --yes
    """
    if not yes and not click.confirm(f"Remove project {name} with all of its builds and logs?", err=True):
        return 1
    await session.client.delete(project_path(name))
    if session.json:
        session.terminal.answer({"removed": name})
    else:
        session.terminal.say(f"Project {name} is removed.")
    return 0


def _given(options: dict[str, Any]) -> dict[str, Any]:
    username, from_stdin = options.pop("username"), options.pop("password_stdin")
    if (username is None) == from_stdin:
        raise click.UsageError("--username and --password-stdin go together.")
    if from_stdin:
        options["credential"] = {"username": username, "password": sys.stdin.readline().rstrip("\r\n")}
    return options


def _absolute(repository: str) -> str:
    """A folder that exists here, as a URL that means the same to a server with another working directory."""
    local = Path(repository).expanduser()
    return local.absolute().as_uri() if "://" not in repository and local.is_dir() else repository


def _print_project(session: Session, found: dict[str, Any]) -> None:
    shown = ("name", "repository", "image", "build_command", "deploy_command", "max_running")
    rows = [[key.replace("_", " "), plain(found[key])] for key in shown if found.get(key) is not None]
    rows.append(["trusted", "yes" if found["trusted"] else "no"])
    rows.append(["credential", "set" if found["has_credential"] else "none"])
    rows.append(["webhook", found["webhook"]["url"]])
    if found.get("latest_build"):
        rows.append(["latest build", _latest(session, found["latest_build"])])
    for key, value in rows:
        session.terminal.say(f"{click.style(f'{key:<16}', dim=True)}{value}")


def _print_webhook(session: Session, webhook: dict[str, Any]) -> None:
    session.terminal.say(f"  Payload URL   {webhook['url']}")
    session.terminal.say("  Content type  application/json")
    session.terminal.say(f"  Secret        {webhook['secret']}")
    session.terminal.say("  Events        Just the push event")
    if urlsplit(webhook["url"]).hostname in LOOPBACK:
        session.terminal.note("This address means this machine only. For others: buildsys up --public-url URL")


def _latest(session: Session, build: dict[str, Any] | None) -> str:
    return (
        "none yet"
        if build is None
        else f"#{build['number']} {session.terminal.word(build['outcome'] or build['state'])}"
    )
