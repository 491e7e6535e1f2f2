"""`buildsys secret` and `buildsys variable`: where values may come from, and where they never show."""

from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cli_command import Command
from web_site import Site, serve

from actors import Database

VALUE = "hunter2-correct-horse"


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        await site.project()
        yield site


@pytest.fixture
def buildsys(site: Site) -> Command:
    return Command(BUILDSYS_SERVER=site.url, BUILDSYS_TOKEN=site.admin_token)


async def stored(site: Site, name: str = "KEY") -> str | None:
    project = await site.stores.projects.get("shop")
    return (await site.stores.secrets.named(project.id, [name])).get(name)


async def test_a_secret_from_its_setting_to_its_end(buildsys: Command, site: Site) -> None:
    made = await buildsys("secret", "set", "key", "--project", "shop", given=f"{VALUE}\n".encode())
    assert (made.code, made.text) == (0, "Secret KEY is set for project shop.\n"), made.errors
    assert await stored(site) == VALUE
    await buildsys("secret", "set", "TOKEN", "--json", given=VALUE.encode())
    everywhere = await buildsys("secret", "list", "--json")
    assert [(each["name"], each["scope"], each["set_by"]) for each in everywhere.json] == [
        ("TOKEN", "account", "alice")
    ]
    listed = await buildsys("secret", "list", "--project", "shop")
    assert [line.split()[:2] for line in listed.text.splitlines()[1:]] == [["KEY", "project"], ["TOKEN", "account"]]
    removed = await buildsys("secret", "rm", "key", "--project", "shop")
    assert removed.text == "Secret KEY is removed from project shop.\n"
    again = await buildsys("secret", "rm", "KEY", "--project", "shop")
    assert (again.code, again.errors) == (2, "buildsys: project shop has no secret KEY of its own\n")
    said = "".join(ended.text + ended.errors for ended in (made, everywhere, listed, removed, again))
    assert VALUE not in said


async def test_a_file_is_taken_as_it_is_and_stdin_without_its_last_line_end(
    buildsys: Command, site: Site, tmp_path: Path
) -> None:
    key = "-----BEGIN KEY-----\r\nabc\n-----END KEY-----\n"
    (tmp_path / "key").write_bytes(key.encode())
    assert (await buildsys("secret", "set", "KEY", "--from-file", str(tmp_path / "key"))).code == 0
    assert await stored(site) == key
    for given, kept in ((key, key[:-1]), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a ")):
        assert (await buildsys("secret", "set", "KEY", given=given.encode())).code == 0
        assert await stored(site) == kept


async def test_a_value_among_the_arguments_is_refused_and_not_repeated(buildsys: Command, site: Site) -> None:
    for arguments in (("KEY", VALUE), (f"KEY={VALUE}",), ("KEY", f"--value={VALUE}"), ("KEY", "--value", VALUE)):
        refused = await buildsys("secret", "set", *arguments, given=b"other")
        assert (refused.code, refused.output) == (2, b""), refused.errors
        assert VALUE not in refused.errors
        assert "Traceback" not in refused.errors
    assert await stored(site) is None


async def test_what_is_no_value_is_refused_before_it_is_sent(buildsys: Command, site: Site, tmp_path: Path) -> None:
    for given, said in (
        (b"", "1 to 49152 bytes"),
        (b"x" * 49153, "more than 49152 bytes"),
        ("\N{SNOWMAN}".encode() * 100_000, "more than 49152 bytes"),
        (b"hunter2\0", "without NUL"),
        (b"hunter2\xff", "not UTF-8"),
    ):
        (tmp_path / "value").write_bytes(given)
        refused = await buildsys("secret", "set", "KEY", "--from-file", str(tmp_path / "value"))
        assert (refused.code, said in refused.errors) == (2, True), refused.errors
        assert "hunter2" not in refused.errors
    assert "1 to 49152 bytes" in (await buildsys("secret", "set", "KEY", given=b"\n")).errors
    assert (await buildsys("secret", "set", "1KEY", given=b"x")).code == 2
    assert await stored(site) is None
    largest = await buildsys("secret", "set", "KEY", given=b"x" * 49152 + b"\n")
    assert (largest.code, len(await stored(site) or "")) == (0, 49152)


async def typed(buildsys: Command, *lines: str) -> tuple[int, str]:
    """The exit code, and all that stood on its terminal, when `secret set KEY` is answered with these lines."""
    main, terminal = pty.openpty()
    process = await buildsys.start(
        *("secret", "set", "KEY"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # which makes it the controlling one
    )
    os.close(terminal)
    shown, left = b"", list(lines)
    async with asyncio.timeout(60):
        while more := await asyncio.to_thread(_read, main):
            shown += more
            if shown.endswith(b": ") and left:
                os.write(main, f"{left.pop(0)}\n".encode())
        code = await process.wait()
    os.close(main)
    return code, shown.decode()


def _read(terminal: int) -> bytes:
    """What comes next; nothing once its other end is closed, which the system calls EIO."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


async def test_on_a_terminal_the_value_is_asked_for_twice_and_not_shown(buildsys: Command, site: Site) -> None:
    code, shown = await typed(buildsys, VALUE, VALUE)
    assert (code, await stored(site)) == (0, VALUE), shown
    assert "Value of KEY" in shown
    assert VALUE not in shown


async def test_the_value_is_in_nobodys_sight_while_it_is_sent(tmp_path: Path) -> None:
    """Neither in the command's arguments nor in its environment, which others may read."""
    arrived, done = asyncio.Event(), asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(VALUE.encode())
        arrived.set()
        await done.wait()
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        process = await Command(BUILDSYS_SERVER=url, BUILDSYS_TOKEN="bst_x").start("secret", "set", "KEY")
        assert process.stdin is not None
        process.stdin.write(f"{VALUE}\n".encode())
        process.stdin.close()
        await asyncio.wait_for(arrived.wait(), 30)
        seen = Path(f"/proc/{process.pid}/cmdline").read_bytes() + Path(f"/proc/{process.pid}/environ").read_bytes()
        done.set()
        output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert b"secret\0set\0KEY" in seen
    assert VALUE.encode() not in seen + output + errors
    assert process.returncode == 5


async def test_a_variable_is_readable(buildsys: Command) -> None:
    assert (await buildsys("variable", "set", "region", "eu")).text == "Variable REGION is set for all projects.\n"
    assert (await buildsys("variable", "set", "REGION", "eu\n-west" * 20, "--project", "shop")).code == 0
    (line,) = (await buildsys("variable", "list")).text.splitlines()[1:]
    assert line.split()[:3] == ["REGION", "eu", "account"]
    (line,) = (await buildsys("variable", "list", "--project", "shop")).text.splitlines()[1:]
    assert "eu -west" in line
    assert "…" in line
    as_json = (await buildsys("variable", "list", "--project", "shop", "--json")).json
    assert as_json[0]["value"] == "eu\n-west" * 20
    assert (await buildsys("variable", "rm", "REGION", "--json")).json == {"removed": "REGION"}
    assert (await buildsys("variable", "list")).text.startswith("There are none yet")
