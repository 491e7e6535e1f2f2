"""`buildsys logs`: a build's log, from history or live."""

from __future__ import annotations

import codecs
import sys
from typing import Any

import click

from buildsys.cli.session import Session, api_command
from buildsys.cli.terminal import plain

PAGE = 1000

PATIENCE = 600.0
"""Seconds that the proof of a log may take: the server reads all of it."""

VERDICTS = {"complete": 0, "broken": 1, "incomplete": 3, "open": 4}


class Logs(click.Group):
    """`logs BUILD` is `logs show BUILD`: what is done a hundred times a day needs no second word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args.insert(0, "show")
        return super().parse_args(ctx, args)


@click.group(cls=Logs)
def logs() -> None:
    """Print a build's log, follow it live, or verify that it is whole.

    BUILD is a build's id, the start of one that is unique, or PROJECT#NUMBER. Without a command: show.

    \b
    Examples:
      buildsys logs hello#12
      buildsys logs -f hello#12 --job test
      buildsys logs verify hello#12
    """


@logs.command()
@click.argument("name", metavar="BUILD")
@click.option("--follow", "-f", is_flag=True, help="Go on live until the build ends; the exit code is the build's.")
@click.option("--job", help="Lines of this job only, by its id.")
@click.option("--step", type=click.IntRange(min=0), help="Lines of this step only; 0 is the set-up.")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Start behind this cursor.")
@api_command
async def show(session: Session, name: str, follow: bool, job: str | None, step: int | None, after: int) -> int | None:
    """Print a build's log, exactly as the build printed it; or follow it live.

    On a terminal, control sequences other than colours are left out. --json gives one entry a line, with its cursor.

    \b
    Examples:
      buildsys logs show hello#12 --step 1
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


@logs.command()
@click.argument("name", metavar="BUILD")
@api_command
async def verify(session: Session, name: str) -> int:
    """Prove that a build's log is all that was written, and nothing else.

    Follows the chain that seals it, from the first record to the last. The exit code is 0 for a complete log, 1 for a
    broken one, 3 for one that says itself what it lacks, and 4 while the build goes on.

    \b
    Example:
      buildsys logs verify hello#12
    """
    from buildsys.cli.naming import find_build

    build = await find_build(session.client, name)
    verdict = await session.client.get(f"/builds/{build['id']}/logs/verification", patience=PATIENCE)
    if session.json:
        session.terminal.answer(verdict)
    else:
        _print_verdict(session, verdict)
    return VERDICTS[verdict["state"]]


def _print_verdict(session: Session, verdict: dict[str, Any]) -> None:
    say = session.terminal.say
    say(f"{verdict['state']}: {verdict['lines']} lines, {verdict['bytes']} bytes, {verdict['last']} entries")
    for missing in verdict["missing"]:
        place = f"job {missing['job']}, step {missing['step']}"
        say(f"  {missing['kind']} at entry {missing['cursor']} ({plain(place)}): {plain(missing['reason'])}")
    for fault in verdict["faults"]:
        say(f"  broken at entry {fault['cursor']}: {plain(fault['problem'])}")


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
