"""The command line against the real API: a process on one side, HTTP between, Postgres behind."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from cli_command import Command
from web_site import Log, Site, serve

from actors import Database
from buildsys.cli.client import Client
from buildsys.cli.demo_proof import Witness
from buildsys.cli.events import follow

REPOSITORY = "https://git.example/shop.git"


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        yield site


@pytest.fixture
def buildsys(site: Site) -> Command:
    return Command(BUILDSYS_SERVER=site.url, BUILDSYS_TOKEN=site.admin_token)


@asynccontextmanager
async def breaking_proxy(url: str, *, after: int) -> AsyncIterator[tuple[str, list[int]]]:
    """A way to the server on which each connection breaks after so many bytes of answers; and how many broke."""
    target, broken = urlsplit(url), list[int]()
    chance = random.Random(11)

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(target.hostname, target.port)

        async def ask() -> None:
            while chunk := await reader.read(65536):
                there_writer.write(chunk)

        asking, left = asyncio.create_task(ask()), chance.randint(after // 2, after)
        while left and (chunk := await there_reader.read(min(left, 4096))):
            writer.write(chunk)
            left -= len(chunk)
        if not left:
            broken.append(1)
        await asyncio.wait_for(writer.drain(), 10)
        asking.cancel()
        there_writer.transport.abort()
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", broken


async def test_a_project_from_its_making_to_its_end(buildsys: Command) -> None:
    made = await buildsys("project", "add", "shop", "--repo", REPOSITORY, "--build-command", "make")
    assert made.code == 0, made.errors
    secret = (await buildsys("project", "show", "shop", "--webhook", "--json")).json["secret"]
    for pasted in ("http://ci.example:8080/hooks/github/shop", "application/json", secret, "Just the push event"):
        assert pasted in made.text
    assert secret not in (await buildsys("project", "show", "shop")).text
    assert "shop" in (await buildsys("project", "list")).text

    changed = await buildsys("project", "set", "shop", "--image", "alpine", "--clear", "build_command", "--json")
    assert (changed.json["image"], changed.json["build_command"]) == ("alpine", None)
    trusted = await buildsys("project", "set", "shop", "--trusted")
    assert (trusted.code, "trusted         yes" in trusted.text) == (0, True)
    assert not (await buildsys("project", "set", "shop", "--untrusted", "--json")).json["trusted"]
    nothing = await buildsys("project", "set", "shop")
    assert (nothing.code, "Nothing to change" in nothing.errors) == (2, True)

    kept = await buildsys("project", "rm", "shop", given=b"n\n")
    assert (kept.code, kept.output) == (1, b"")
    assert (await buildsys("project", "rm", "shop", "--yes", "--json")).json == {"removed": "shop"}
    assert (await buildsys("project", "list", "--json")).json == []


async def test_a_password_comes_from_stdin_and_is_not_shown(buildsys: Command) -> None:
    alone = await buildsys("project", "add", "shop", "--repo", REPOSITORY, "--username", "ci")
    assert (alone.code, "--password-stdin" in alone.errors) == (2, True)
    options = ("--username", "ci", "--password-stdin", "--json")
    made = await buildsys("project", "add", "shop", "--repo", REPOSITORY, *options, given=b"s3cret\n")
    assert made.json["has_credential"] is True
    assert b"s3cret" not in made.output


async def test_a_push_that_built_nothing_is_listed_with_the_reason(buildsys: Command, site: Site) -> None:
    project = await site.project()
    assert "Nothing has come yet" in (await buildsys("project", "deliveries", "shop")).text
    await site.stores.deliveries.keep(project.id, forge="github", delivery="d-1", event="push", body=b"{}")
    (kept,) = await site.stores.deliveries.list(project.id)
    await site.stores.deliveries.settle(kept.id, outcome="skipped", reason="no workflow wants\x1b[2J main")
    await site.stores.deliveries.keep(project.id, forge="github", delivery="d-2", event="push", body=b"{}")
    listed = await buildsys("project", "deliveries", "shop")
    _, newest, oldest = listed.text.splitlines()
    assert "pending" in newest
    assert oldest.split()[2:] == ["push", "skipped", "no", "workflow", "wants", "main"]
    as_json = (await buildsys("project", "deliveries", "shop", "--json")).json
    assert [(each["delivery"], each["outcome"]) for each in as_json] == [("d-2", None), ("d-1", "skipped")]


async def test_a_build_is_found_by_every_name_it_has(buildsys: Command, site: Site) -> None:
    await site.project()
    first, second = [(await buildsys("build", "start", "shop", "--json")).json[0] for _ in range(2)]
    await site.builder.stop(first["id"], "failed")
    retried = (await buildsys("build", "retry", "shop#1", "--json")).json[0]
    assert (retried["number"], retried["attempt"]) == (1, 2)
    for name, build in (
        (first["id"], first),
        (first["id"][:13], first),
        ("shop#2", second),
        ("shop/2", second),
        ("shop#1", retried),
    ):
        assert (await buildsys("build", "show", name, "--json")).json["id"] == build["id"], name
    for name in ("shop#3", "0000", "shop", "!"):
        assert (await buildsys("build", "show", name)).code == 2, name
    listed = await buildsys("build", "list", "--project", "shop", "--json")
    assert [build["id"] for build in listed.json] == [retried["id"], second["id"], first["id"]]
    assert "shop#1 attempt 2" in (await buildsys("build", "list")).text


async def test_a_queued_build_is_canceled_once(buildsys: Command, site: Site) -> None:
    await site.project()
    await buildsys("build", "start", "shop")
    for _ in range(2):
        canceled = await buildsys("build", "cancel", "shop#1", "--json")
        assert (canceled.code, canceled.json["outcome"]) == (0, "canceled")
    assert len(site.builder.canceled) == 1


async def test_a_token_is_shown_once_and_ends(buildsys: Command, site: Site) -> None:
    made = await buildsys("token", "create", "laptop", "--expires-in-days", "1")
    token = made.text.strip()
    assert token.startswith("bst_")
    own = Command(BUILDSYS_SERVER=site.url, BUILDSYS_TOKEN=token)
    listed = await own("token", "list", "--json")
    (id,) = [each["id"] for each in listed.json if each["name"] == "laptop"]
    assert token not in listed.text
    assert (await buildsys("token", "revoke", id)).code == 0
    assert (await own("token", "list")).code == 2


async def test_a_log_into_a_pipe_is_every_byte_that_was_printed(buildsys: Command, site: Site) -> None:
    log = await site.log()
    await log.event("build_running")
    await log.lines(b"\x1b[2Jone\n\xff\xfe two\r\n\x00three\n")
    await log.lines(b"other\n", step=0)
    await log.lines(b"open")
    await log.end()
    name = str(log.build)
    assert (await buildsys("logs", name)).output == log.printed
    assert (await buildsys("logs", name, "--step", "0")).output == b"other\n"
    assert (await buildsys("logs", name, "--after", "3")).output == b"\x00three\nother\nopen"
    entries = [json.loads(line) for line in (await buildsys("logs", name, "--json")).text.splitlines()]
    assert [entry["cursor"] for entry in entries] == list(range(1, 8))
    assert entries[-1]["kind"] == "end"


async def test_the_end_of_a_log_and_a_stretch_of_time_are_shown(buildsys: Command, site: Site) -> None:
    log = await site.log()
    for number in range(20):
        await log.lines(b"%d\n" % number)
    await site.database.pool.execute("UPDATE log_records SET at = at - interval '1 hour' WHERE first <= 5")
    await log.end()
    name = str(log.build)
    assert (await buildsys("logs", name, "--tail", "2")).output == b"18\n19\n"
    assert (await buildsys("logs", name, "--until", "30m")).output == b"0\n1\n2\n3\n4\n"
    assert (await buildsys("logs", name, "--since", "30m", "--tail", "100")).output == log.printed.split(b"4\n", 1)[1]
    followed = await buildsys("logs", name, "-f", "--tail", "2")
    assert (followed.code, followed.output) == (0, b"19\n")
    entries = [json.loads(line) for line in (await buildsys("logs", name, "--tail", "3", "--json")).text.splitlines()]
    assert [entry["cursor"] for entry in entries] == [19, 20, 21]
    for bad in ("yesterday", "10", "5y", "2026-13-01", "999999d"):
        refused = await buildsys("logs", name, "--since", bad)
        assert (refused.code, "no time" in refused.errors) == (2, True), bad


async def test_a_log_is_searched(buildsys: Command, site: Site) -> None:
    log = await site.log()
    for _ in range(3):
        await log.lines(b"".join(b"%d\n" % number for number in range(1000)))
    await log.lines(b"\x1b[2J an \x1b[31mError\x1b[0m: bad\n")
    await log.end()
    search = ("logs", str(log.build), "--search")
    assert (await buildsys(*search, "999")).output == b"1000: 999\n2000: 999\n3000: 999\n"
    assert len((await buildsys(*search, "", "--regex")).output) == 0
    assert len((await buildsys(*search, "^[0-9]", "--regex")).text.splitlines()) == 3000
    assert (await buildsys(*search, "error", "-i", "--json")).json["cursor"] == 3001
    missing = await buildsys(*search, "nowhere")
    assert (missing.code, missing.output) == (1, b"")
    bad = await buildsys(*search, "(a", "--regex")
    assert (bad.code, "at character 3" in bad.errors) == (2, True), bad.errors
    assert (await buildsys(*search, "a", "-f")).code == 2
    assert (await buildsys("logs", str(log.build), "--regex")).code == 2

    main, terminal = pty.openpty()
    process = await buildsys.start(*search, "an .*ror", "--regex", stdout=terminal)
    os.close(terminal)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    shown = os.read(main, 65536)
    os.close(main)
    assert b"\x1b[2J" not in shown
    assert b"\x1b[31m\x1b[1man Error" in shown


async def test_a_log_is_proven(buildsys: Command, site: Site) -> None:
    log = await site.log()
    await log.event("step_started", job="j", step=1, name="s")
    await log.lines(b"one\ntwo\n")
    verify = ("logs", "verify", str(log.build))
    assert ((await buildsys(*verify)).code, (await buildsys(*verify)).text.split(":")[0]) == (4, "open")
    await log.event("gap", job="j", step=1, reason="runner_lost")
    await log.event("step_stopped", job="j", step=1, outcome="errored")
    await log.end()
    await site.builder.stop(log.build, "errored")
    incomplete = await buildsys(*verify)
    assert (incomplete.code, "gap at entry 4" in incomplete.text) == (3, True), incomplete.text
    await site.database.pool.execute("UPDATE log_records SET at = at + interval '1 s' WHERE first = 1")
    broken = await buildsys(*verify, "--json")
    assert (broken.code, json.loads(broken.text)["faults"][0]["cursor"]) == (1, 1)


async def test_a_job_or_step_that_is_not_there_is_answered_with_those_that_are(buildsys: Command, site: Site) -> None:
    log = await site.log()
    await log.end()
    for options, said in ((("--job", "nope"), "no job 'nope', but j."), (("--step", "99"), "no step 99, but 0, 1 (")):
        for live in ((), ("-f",)):
            refused = await buildsys("logs", str(log.build), *live, *options)
            assert (refused.code, said in refused.errors) == (2, True), refused.errors
    assert (await buildsys("logs", str(log.build), "--job", "j", "--step", "1")).code == 0


async def test_a_log_on_a_terminal_cannot_drive_it(buildsys: Command, site: Site) -> None:
    log = await site.log()
    await log.lines(b"\x1b]0;owned\x07\x1b[2Jseen \x1b[31mred\n\x1b[6n")
    await log.end()
    main, terminal = pty.openpty()
    process = await buildsys.start("logs", str(log.build), stdout=terminal)
    os.close(terminal)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    shown = os.read(main, 65536)
    os.close(main)
    assert b"seen \x1b[31mred" in shown
    assert not {b"owned", b"\x1b[2J", b"\x1b[6n"} & {
        part for part in (b"owned", b"\x1b[2J", b"\x1b[6n") if part in shown
    }


@pytest.mark.parametrize(
    ("outcome", "code"), [("success", 0), ("failed", 1), ("canceled", 3), ("timed_out", 4), ("errored", 5)]
)
async def test_following_ends_with_the_exit_code_of_the_build(
    buildsys: Command, site: Site, outcome: str, code: int
) -> None:
    log = await site.log()
    process = await buildsys.start("logs", "-f", str(log.build))
    await log.event("build_running")
    await log._append("step_started", job="j", step=1, data={"name": "Say it"})
    await log.lines(b"hello\n")
    await log._append("step_stopped", job="j", step=1, data={"outcome": outcome, "exit_code": 7})
    await log.event("end", outcome=outcome, reason="as asked")
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, output) == (code, b"hello\n"), errors
    told = errors.decode()
    for said in ("shop #1", "running", "j / Say it", "exit 7", outcome, "as asked"):
        assert said in told
    assert "\x1b" not in told


async def test_following_survives_broken_connections_without_losing_or_doubling_a_line(site: Site) -> None:
    log = await site.log()
    async with breaking_proxy(site.url, after=15_000) as (url, broken):
        buildsys = Command(BUILDSYS_SERVER=url, BUILDSYS_TOKEN=site.admin_token)
        process = await buildsys.start("logs", "-f", str(log.build))
        ending = asyncio.create_task(process.communicate())
        for batch in range(100):
            await log.lines(b"".join(b"%06d\n" % number for number in range(batch * 500, batch * 500 + 500)))
        await log.end()
        output, errors = await asyncio.wait_for(ending, 90)
    assert (process.returncode, output == log.printed) == (0, True), errors.decode()[-2000:]
    assert len(broken) >= 3
    assert errors.decode().count("connecting again") == len(broken)


async def test_following_in_json_is_one_object_a_line(buildsys: Command, site: Site) -> None:
    log = await site.log()
    await log.lines(b"hello\n")
    await log.end()
    ended = await buildsys("logs", "-f", str(log.build), "--json")
    build, lines, end = [json.loads(line) for line in ended.text.splitlines()]
    assert build["id"] == str(log.build)
    assert (lines["kind"], lines["lines"]) == ("lines", ["hello"])
    assert (end["kind"], end["outcome"]) == ("end", "success")


async def test_ctrl_c_stops_watching_and_says_that_the_build_goes_on(buildsys: Command, site: Site) -> None:
    log = await site.log()
    await log.lines(b"hello\n")
    process = await buildsys.start("logs", "-f", str(log.build))
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"hello\n"
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert f"buildsys build cancel {log.build}" in errors.decode()
    assert "Traceback" not in errors.decode()
    assert site.builder.canceled == []


async def test_why_a_queued_build_waits_is_told(buildsys: Command, site: Site, database: Database) -> None:
    log = await site.log()
    await database.pool.execute("UPDATE queue SET waits_for = 'project' WHERE build = $1", log.build)
    process = await buildsys.start("logs", "-f", str(log.build))
    assert process.stderr is not None
    told = b""
    while b"limit of running builds is used up" not in told:
        told += await asyncio.wait_for(process.stderr.readline(), 30)
    await log.end()
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0


async def test_a_reader_that_leaves_early_ends_the_command_quietly(buildsys: Command, site: Site) -> None:
    log = await site.log()
    await large(log)
    reading, writing = os.pipe()
    process = await buildsys.start("logs", str(log.build), stdout=writing)
    os.close(writing)
    assert await asyncio.to_thread(os.read, reading, 10) == b"x" * 10
    os.close(reading)
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, errors) == (141, b"")


async def large(log: Log) -> None:
    for _ in range(20):
        await log.lines(b"x" * 99_999 + b"\n")
    await log.end()


async def test_the_demos_witness_sees_what_is_not_as_it_should_be(site: Site) -> None:
    log = await site.log()
    await log.lines(b"one\ntwo\n")
    await log.lines(b"three", step=2)
    await log.end()
    await site.builder.stop(log.build, "success")
    as_seen = {("j", 1): "one\ntwo\n", ("j", 2): "three"}
    async with Client(site.url, site.admin_token) as client:
        events = [event async for event in follow(client, str(log.build))]
        for seen, printed, held in (
            (events, as_seen, True),
            (events, {("j", 1): "one\ntwo\n"}, True),
            (events, {}, False),
            (events, as_seen | {("j", 1): "one\nto\n"}, False),
            (events, as_seen | {("j", 3): "never came"}, False),
            (events[1:], as_seen, False),
            ([*events[:2], events[1], *events[2:]], as_seen, False),
        ):
            witness = Witness()
            for event in seen:
                witness.see(event)
            verdict = await witness.verdict(client, str(log.build), printed, driver="process", sent=0.0)
            assert verdict.held is held, verdict
