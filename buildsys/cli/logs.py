"""`buildsys logs`: a build's log, from history or live."""

from __future__ import annotations

import codecs
import sys

import click

from buildsys.cli.session import Session, api_command

PAGE = 1000


@click.command()
@click.argument("name", metavar="BUILD")
@click.option("--follow", "-f", is_flag=True, help="Go on live until the build ends; the exit code is the build's.")
@click.option("--job", help="Lines of this job only, by its id.")
@click.option("--step", type=click.IntRange(min=0), help="Lines of this step only; 0 is the set-up.")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Start behind this cursor.")
@api_command
async def logs(session: Session, name: str, follow: bool, job: str | None, step: int | None, after: int) -> int | None:
    """Print a build's log, exactly as the build printed it; or follow it live.

    On a terminal, control sequences other than colours are left out. --json gives one entry a line, with its cursor.
    BUILD is a build's id, the start of one that is unique, or PROJECT#NUMBER.

    \b
    Examples:
      buildsys logs hello#12
      buildsys logs -f hello#12 --job test
      buildsys logs hello#12 --json | tail -n 1
    """
    from buildsys.cli.follow import watch
    from buildsys.cli.naming import check_place, find_build

    build = await find_build(session.client, name)
    check_place(build, job, step)
    if follow:
        return await watch(session.client, session.terminal, build, after=after, job=job, step=step)
    path = f"/builds/{build['id']}/logs"
    if session.json:
        await _print_entries(session, path, job, step, after)
    elif session.terminal.interactive:
        await _print_lines(session, path, job, step, after)
    else:
        async for chunk in session.client.text(path, job=job, step=step, after=after):
            sys.stdout.buffer.write(chunk)
    return None


async def _print_lines(session: Session, path: str, job: str | None, step: int | None, after: int) -> None:
    decoder, rest = codecs.getincrementaldecoder("utf-8")("replace"), ""
    async for chunk in session.client.text(path, job=job, step=step, after=after):
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        if lines:
            session.terminal.log(lines)
    if rest:
        session.terminal.log([rest])


async def _print_entries(session: Session, path: str, job: str | None, step: int | None, after: int) -> None:
    while True:
        page = await session.client.get(path, job=job, step=step, after=after, limit=PAGE)
        for entry in page["entries"]:
            session.terminal.answer(entry)
        if page["end"] or page["next"] == after:
            return
        after = page["next"]
