"""`buildsys build`: start, watch, cancel and retry builds."""

from __future__ import annotations

from typing import Any

import click

from buildsys.cli.build_shown import build_name, in_order, print_build, took
from buildsys.cli.naming import project_path
from buildsys.cli.pairs import pairs
from buildsys.cli.session import Session, api_command
from buildsys.cli.terminal import plain

READING = 250.0
"""Seconds that a start may take: the server asks the repository twice, and gives it 120 s each time."""

STATES = ("queued", "starting", "running", "stopped")


@click.group()
def build() -> None:
    """Start, watch, cancel and retry builds.

    BUILD is a build's id, the start of one that is unique, or PROJECT#NUMBER.

    \b
    Example:
      buildsys build start hello --follow
    """


@build.command()
@click.argument("project")
@click.option("--branch", help="Build the head of this branch; else of the default branch.")
@click.option("--ref", "-r", help="Build this branch or tag.")
@click.option("--commit", help="Build this commit, by its full id.")
@click.option("--workflow", "-w", metavar="NAME", help="Of this workflow only, by its file or its name.")
@click.option("--input", "-i", "inputs", multiple=True, metavar="NAME=VALUE", help="An input of workflow_dispatch.")
@click.option("--follow", "-f", is_flag=True, help="Watch it to its end; the exit code is the build's.")
@api_command
async def start(session: Session, project: str, inputs: tuple[str, ...], follow: bool, **options: str | None) -> int:
    """Dispatch the workflows that take workflow_dispatch, and start of the others what a push would start.

    With --input only the first kind is meant, and with --workflow that one only. A value is a text, a number, true or
    false, or one of the choices, as the workflow says of the input; one that it does not have is refused.

    With --follow the exit code is 0 success, 1 failed, 3 canceled, 4 timed out, 5 could not be run (a missing secret,
    no runner, or our fault); the highest, where several workflows match. Ctrl-C stops watching, not the build.

    \b
    Examples:
      buildsys build start hello --follow
      buildsys build start hello --branch release
      buildsys build start hello --workflow deploy.yml --ref v1.2 --input level=debug --input dry-run=true
    """
    if len([name for name in ("branch", "ref", "commit") if options[name]]) > 1:
        raise click.UsageError("Give one of --branch, --ref and --commit.")
    given = {**options, "inputs": pairs(inputs, "--input")}
    chosen = {key: value for key, value in given.items() if value}
    made = (await session.client.post(f"{project_path(project)}/builds", chosen, patience=READING))["builds"]
    return await _answer(session, made, follow)


@build.command(name="list")
@click.option("--project", help="Builds of this project only.")
@click.option("--state", type=click.Choice(STATES), help="Builds in this state only.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many, newest first.")
@api_command
async def list_(session: Session, project: str | None, state: str | None, limit: int) -> None:
    """List builds, newest first.

    \b
    Example:
      buildsys build list --project hello --state running
    """
    found = (await session.client.get("/builds", project=project, state=state, limit=limit))["builds"]
    if session.json:
        session.terminal.answer(found)
    elif not found:
        session.terminal.say("There are no such builds.")
    else:
        titles = ["build", "state", "branch", "commit", "took", "id", "title"]
        session.terminal.table(titles, [_row(session, each) for each in found])


@build.command()
@click.argument("name", metavar="BUILD")
@api_command
async def show(session: Session, name: str) -> None:
    """Show a build with its jobs and steps, and why it waits or how it ended.

    \b
    Example:
      buildsys build show hello#12
    """
    from buildsys.cli.naming import find_build

    found = await find_build(session.client, name)
    if session.json:
        session.terminal.answer(found)
    else:
        print_build(session, found)


@build.command()
@click.argument("name", metavar="BUILD")
@click.option("--job", help="Of this job only, by its id.")
@api_command
async def summary(session: Session, name: str, job: str | None) -> None:
    """Print what the steps of a build wrote into GITHUB_STEP_SUMMARY, as Markdown.

    \b
    Example:
      buildsys build summary hello#12
    """
    from buildsys.cli.naming import find_build

    found = await find_build(session.client, name)
    written = [
        {"job": each["id"], "step": step["number"], "name": step["name"]}
        for each in found["jobs"]
        if job in (None, each["id"])
        for step in in_order(each["steps"])
        if step["summary"]
    ]
    for one in written:
        path = f"/builds/{found['id']}/summary"
        parts = [part async for part in session.client.text(path, job=one["job"], step=one["step"])]
        text = b"".join(parts).decode()
        if session.json:
            session.terminal.answer({**one, "summary": text})
        else:
            session.terminal.note(f"▸ {plain(one['job'])} / {plain(one['name'])}", color="cyan")
            session.terminal.log(text.splitlines())
    if not written and not session.json:
        session.terminal.note("No step has written a summary.")


@build.command()
@click.argument("name", metavar="BUILD")
@api_command
async def cancel(session: Session, name: str) -> None:
    """Cancel a build. It is canceled once its containers are proven gone.

    \b
    Example:
      buildsys build cancel hello#12
    """
    from buildsys.cli.naming import find_build

    found = await find_build(session.client, name)
    now = await session.client.post(f"/builds/{found['id']}/cancel")
    if session.json:
        session.terminal.answer(now)
    elif now["state"] == "stopped":
        session.terminal.say(f"{build_name(now)} is over: {session.terminal.word(now['outcome'])}.")
    else:
        session.terminal.say(f"{build_name(now)} is being canceled. To see it end: buildsys logs -f {now['id']}")


@build.command()
@click.argument("name", metavar="BUILD")
@click.option("--follow", "-f", is_flag=True, help="Watch it to its end; the exit code is the build's.")
@api_command
async def retry(session: Session, name: str, follow: bool) -> int:
    """Run a build that is over once more, as its next attempt.

    \b
    Example:
      buildsys build retry hello#12 --follow
    """
    from buildsys.cli.naming import find_build

    found = await find_build(session.client, name)
    return await _answer(session, [await session.client.post(f"/builds/{found['id']}/retry")], follow)


async def _answer(session: Session, made: list[dict[str, Any]], follow: bool) -> int:
    if follow:
        from buildsys.cli.follow import watch

        return max([await watch(session.client, session.terminal, each) for each in made], default=0)
    if session.json:
        session.terminal.answer(made)
    for each in made if not session.json else ():
        session.terminal.say(f"{build_name(each)} is queued. To watch it: buildsys logs -f {each['id']}")
    return 0


def _row(session: Session, build: dict[str, Any]) -> list[str]:
    return [
        build_name(build),
        session.terminal.word(build["outcome"] or build["state"]),
        plain(build["branch"]),
        build["commit"][:10],
        took(build),
        build["id"][:8],
        plain(build["title"])[:60],
    ]
