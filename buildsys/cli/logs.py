"""`buildsys logs`: a build's log, from history or live."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from buildsys.cli.session import Session, api_command
from buildsys.cli.terminal import plain

PAGE = 1000

WRITE = 64 << 10
"""Bytes that are written at once: unbuffered, only the next write tells that the reader has gone."""

PATIENCE = 600.0
"""Seconds that the proof of a log may take: the server reads all of it."""

VERDICTS = {"complete": 0, "broken": 1, "incomplete": 3, "open": 4}


Wanted = Mapping[str, Any]
"""What of a log is asked for, as the API takes it."""

AGO = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Moment(click.ParamType[str]):
    """A time of ISO 8601, the local one where it names no offset, or how long ago it was."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            if ago := re.fullmatch(r"(\d{1,6})([smhd])", value):
                moment = datetime.now(UTC) - timedelta(**{AGO[ago[2]]: int(ago[1])})
            else:
                moment = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time: give one like 2026-03-01T12:00 or how long ago it was, like 10m.", param, ctx
            )
        return moment.isoformat()


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
      buildsys logs hello#12 --search "error:"
      buildsys logs verify hello#12
    """


@logs.command()
@click.argument("name", metavar="BUILD")
@click.option("--follow", "-f", is_flag=True, help="Go on live until the build ends; the exit code is the build's.")
@click.option("--job", help="Lines of this job only, by its id.")
@click.option("--step", type=click.IntRange(min=0), help="Lines of this step only; 0 is the set-up.")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Start behind this cursor.")
@click.option("--tail", type=click.IntRange(1, 10_000), metavar="N", help="The last N lines only.")
@click.option("--since", type=Moment(), help="Since a time, or for how long (90s, 10m, 2h, 1d), by batches of lines.")
@click.option("--until", type=Moment(), help="What was printed before, by batches of lines.")
@click.option("--search", metavar="TEXT", help="Lines with this text; the exit code is 1 if there is none.")
@click.option("--regex", is_flag=True, help="The text to search for is a regular expression (RE2).")
@click.option("--ignore-case", "-i", is_flag=True, help="Search for lower and upper case alike.")
@api_command
async def show(
    session: Session,
    name: str,
    follow: bool,
    search: str | None,
    regex: bool,
    ignore_case: bool,
    **wanted: Any,
) -> int | None:
    """Print a build's log, exactly as the build printed it; follow it live; or search it.

    On a terminal, control sequences other than colours are left out. --json gives one entry a line, with its cursor. A
    line that was searched for comes with its cursor before it.

    \b
    Examples:
      buildsys logs show hello#12 --step 1
      buildsys logs hello#12 --tail 20 -f
      buildsys logs hello#12 --search "^E +[0-9]+" --regex
      buildsys logs hello#12 --json | tail -n 1
    """
    from buildsys.cli.follow import watch
    from buildsys.cli.naming import check_place, find_build

    if search is None and (regex or ignore_case):
        raise click.UsageError("--regex and --ignore-case say how to --search.")
    if search is not None and follow:
        raise click.UsageError("--search looks through what is there, and cannot --follow.")
    build = await find_build(session.client, name)
    check_place(build, wanted["job"], wanted["step"])
    path = f"/builds/{build['id']}/logs"
    if search is not None:
        from buildsys.cli.search import print_hits

        pattern: Wanted = {"q": search, "regex": int(regex), "ignore_case": int(ignore_case)}
        return 0 if await print_hits(session, path, **pattern, **wanted) else 1
    if follow:
        return await watch(session.client, session.terminal, build, **wanted)
    if session.json:
        await _print_entries(session, path, wanted)
    elif session.terminal.interactive:
        await _print_lines(session, path, wanted)
    else:
        async for chunk in session.client.text(path, **wanted):
            for start in range(0, len(chunk), WRITE):
                sys.stdout.buffer.write(chunk[start : start + WRITE])
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


async def _print_lines(session: Session, path: str, wanted: Wanted) -> None:
    decoder, rest = codecs.getincrementaldecoder("utf-8")("replace"), ""
    async for chunk in session.client.text(path, **wanted):
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        if lines:
            session.terminal.log(lines)
    if rest:
        session.terminal.log([rest])


async def _print_entries(session: Session, path: str, wanted: Wanted) -> None:
    while True:
        page = await session.client.get(path, limit=PAGE, **wanted)
        for entry in page["entries"]:
            session.terminal.answer(entry)
        if page["end"] or page["next"] == wanted["after"]:
            return
        wanted = {**wanted, "after": page["next"], "tail": None}
