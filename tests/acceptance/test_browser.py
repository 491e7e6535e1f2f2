"""The page, in a real browser: what people see and click, and that nothing which a build prints can act in it.

BUILDSYS_SCREENSHOTS names a folder for pictures of every page.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import pytest
from browsers import Watch, open_browser, sign_in
from playwright.async_api import Browser, Page, expect
from system import Repository, System, until

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="alert(1)">'
HOSTILE_TITLE = "<script>alert('title')</script> Read the menu <b>twice</b>"
SEQUENCES = (
    r"printf '\033[1;31mred\033[0m and \033[32mgreen\033[0m\n'; "
    r"printf '\033]0;a window title\007\033]8;;javascript:alert(1)\033\\a link\033]8;;\033\\ \033[2J\033[10Aplain\n'"
)
SCRIPT = f"echo '{HOSTILE}'; {SEQUENCES}; i=0; while :; do i=$((i + 1)); echo line $i; sleep 0.1; done"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as browser:
        yield browser


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with System(tmp_path / "data", BUILDSYS_GRACE="2", BUILDSYS_MAX_RUNNING="1") as system:
        yield system
        for build in await system.builds("menu"):  # what runs at the end would go on, as builds do
            await system.call("POST", f"/builds/{build['id']}/cancel")
        for build in await system.builds("menu"):
            await system.stopped(build["id"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_build_is_watched_and_canceled(
    browser: Browser, system: System, repository: Repository, scheme: str
) -> None:
    secret = await system.add_project("menu", str(repository.path))
    steps = [{"name": "Bake", "run": SCRIPT}, {"name": "Serve", "run": "echo never"}]
    passing = [{"name": "Bake", "run": "echo baked"}]
    commit = repository.workflow(json.dumps(_workflow("Bread", passing)))
    await system.push("menu", secret, commit=commit, title="Bake the bread")
    await system.stopped(await system.only_build("menu"))
    commit = repository.workflow(json.dumps(_workflow("Kitchen", steps)))
    for title in (HOSTILE_TITLE, "Wait for the oven"):
        known = len(await system.builds("menu"))
        await system.push("menu", secret, commit=commit, title=title)
        await until(lambda known=known: _more(system, known))

    context = await browser.new_context(color_scheme=scheme, viewport={"width": 1200, "height": 800})  # type: ignore[arg-type]
    page = await context.new_page()
    watch = Watch(page, url=system.url)

    await page.goto(system.url)
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await picture(page, scheme, "1-sign-in")
    assert all("401" in found for found in watch.found), "the browser notes that there is no session yet"
    watch.found.clear()

    await page.get_by_label("Token").fill("bst_wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("This token is not valid.")).to_be_visible()
    watch.found.clear()
    await page.get_by_label("Token").fill(system.token)
    await page.get_by_role("button", name="Sign in").click()

    running = page.get_by_role("link").filter(has_text=HOSTILE_TITLE)
    await expect(running).to_be_visible()
    await expect(page.get_by_role("link").filter(has_text="Bake the bread")).to_contain_text("success")
    await expect(page.get_by_role("link").filter(has_text="Wait for the oven")).to_contain_text("queued")
    await expect(running).to_contain_text("running")
    await picture(page, scheme, "2-builds")

    await page.get_by_role("link").filter(has_text="Wait for the oven").click()
    await expect(page.get_by_text("the system's limit of running builds is used up by menu #2")).to_be_visible()
    await picture(page, scheme, "3-waiting")
    await page.get_by_role("link", name="buildsys").click()

    await running.click()
    log = page.get_by_role("log").filter(has_text="line 1")
    await expect(log).to_contain_text("line 5")
    await expect(log).to_contain_text("line 20")
    await expect(log).to_contain_text(HOSTILE)
    await expect(log).to_contain_text("red and green")
    await expect(log).to_contain_text("a link plain")
    assert await log.locator("img, script, a:not(.n)").count() == 0
    assert "\x1b" not in (await log.text_content() or "")
    assert "javascript" not in (await log.text_content() or "")
    await expect(page.get_by_text("red", exact=True)).to_have_css("font-weight", "700")
    await picture(page, scheme, "4-running")

    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("button", name="Run again")).to_be_visible(timeout=15_000)
    await expect(page.locator(".history").get_by_text("canceled")).to_be_visible()
    await expect(page.get_by_text("canceled by administrator")).to_be_visible()
    await picture(page, scheme, "5-canceled")

    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert watch.found == []


async def test_a_narrow_screen_shows_all_without_scrolling_sideways(
    browser: Browser, system: System, repository: Repository
) -> None:
    secret = await system.add_project("menu", str(repository.path))
    wide = "echo " + "word" * 200
    commit = repository.workflow(
        json.dumps(_workflow("Kitchen", [{"name": "x" * 150, "run": wide}, {"run": "exit 3"}]))
    )
    await system.push("menu", secret, commit=commit, title="An unbreakable-" + "title" * 30)
    build = await system.only_build("menu")
    assert (await system.stopped(build))["outcome"] == "failed"

    page = await browser.new_page(color_scheme="dark", viewport={"width": 390, "height": 800})
    await page.goto(system.url)
    await page.get_by_label("Token").fill(system.token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("link").filter(has_text="unbreakable")).to_be_visible()
    await picture(page, "narrow", "1-builds")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    await page.get_by_role("link").filter(has_text="unbreakable").click()
    await expect(page.get_by_role("log")).to_contain_text("wordword")
    await picture(page, "narrow", "2-build")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


COUNT = 200


async def test_a_page_outlives_the_server_behind_its_proxy(
    browser: Browser, system: System, repository: Repository
) -> None:
    secret = await system.add_project("menu", str(repository.path))
    count = f"i=0; while [ $i -lt {COUNT} ]; do i=$((i + 1)); echo $i; sleep 0.1; done"
    commit = repository.workflow(json.dumps(_workflow("Kitchen", [{"name": "Count", "run": count}])))
    await system.push("menu", secret, commit=commit, title="Count the plates")
    build = await system.only_build("menu")
    async with Proxy(system.port) as proxy:
        context = await browser.new_context()
        page, other = await context.new_page(), await context.new_page()
        await sign_in(page, proxy.url, system.token)
        await other.goto(f"{proxy.url}/#/projects/menu")
        await expect(other.get_by_role("link").filter(has_text="Count the plates")).to_contain_text("running")
        await page.goto(f"{proxy.url}/#/builds/{build}")
        log = page.get_by_role("log").filter(has_text="1")
        await expect(log).to_contain_text("12")
        system.kill()
        await until(lambda: proxy.refused(f"GET /api/v1/builds/{build}/logs"), what="the stream to be refused")
        await expect(page.get_by_text("The server does not answer.")).to_be_visible()
        await expect(log).to_contain_text("12")
        known = int((await log.inner_text()).split()[-1])
        await system.start()
        await expect(log).to_contain_text(str(known + 20), timeout=20_000)
        await expect(page.get_by_text("The server does not answer.")).to_be_hidden()
        await expect(page.locator(".history .badge")).to_have_text("success", timeout=40_000)
        assert (await log.inner_text()).split() == [str(number) for number in range(1, COUNT + 1)]
        await expect(other.get_by_role("link").filter(has_text="Count the plates")).to_contain_text("success")


async def test_a_token_that_is_revoked_brings_the_sign_in_back(
    browser: Browser, system: System, repository: Repository
) -> None:
    secret = await system.add_project("menu", str(repository.path))
    commit = repository.workflow(json.dumps(_workflow("Kitchen", [{"run": "echo begun; sleep 60"}])))
    await system.push("menu", secret, commit=commit)
    build = await system.only_build("menu")
    made = await system.call("POST", "/tokens", {"name": "guest", "role": "admin"})
    page = await browser.new_page()
    await sign_in(page, system.url, made["token"])
    await page.goto(f"{system.url}/#/builds/{build}")
    await expect(page.get_by_role("log").filter(has_text="begun")).to_be_visible()
    await system.call("DELETE", f"/tokens/{made['id']}")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=10_000)


async def test_a_push_that_built_nothing_stands_at_its_project_with_the_reason(
    browser: Browser, system: System, repository: Repository
) -> None:
    secret = await system.add_project("menu", str(repository.path))
    await system.add_project("cellar", str(repository.path))
    workflow = _workflow("Kitchen", [{"run": "true"}]) | {"on": {"push": {"branches": ["main"]}}}
    commit = repository.workflow(json.dumps(workflow), branch="<b>aside</b>")
    await system.push("menu", secret, commit=commit, branch="<b>aside</b>")
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    watch = Watch(page, url=system.url)
    await sign_in(page, system.url, system.token)
    watch.found.clear()
    await page.get_by_role("navigation").get_by_role("link", name="menu").click()
    await expect(page.get_by_role("heading", name="Deliveries that built nothing")).to_be_visible()
    await expect(page.locator(".row").filter(has_text="skipped")).to_contain_text("<b>aside</b>")
    await picture(page, "light", "6-deliveries")
    await page.get_by_role("navigation").get_by_role("link", name="cellar").click()
    await expect(page.get_by_text("No builds yet.")).to_be_visible()
    await expect(page.get_by_role("heading", name="Deliveries that built nothing")).to_be_hidden()
    assert watch.found == []


class Proxy:
    """What stands before a server: passes connections on, and answers 502 where there is nobody to pass them to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._refused: list[str] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def refused(self, request: str) -> bool:
        """Whether a request that begins so was answered 502."""
        return any(line.startswith(request) for line in self._refused)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            request = await reader.readuntil(b"\r\n\r\n")
            self._refused.append(request.split(b"\r\n")[0].decode())
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            passing = [_pass(reader, server_writer), _pass(server_reader, writer)]
            await asyncio.gather(*passing)
        finally:
            writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All that comes, until one side is gone; then the other is, too."""
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def picture(page: Page, scheme: str, name: str) -> None:
    folder = os.environ.get("BUILDSYS_SCREENSHOTS")
    if folder:
        await page.screenshot(path=Path(folder) / f"{scheme}-{name}.png")


async def _more(system: System, known: int) -> bool:
    return len(await system.builds("menu")) > known


def _workflow(name: str, steps: list[dict[str, str]]) -> dict[str, object]:
    return {"name": name, "on": "push", "jobs": {"kitchen": {"runs-on": "linux", "steps": steps}}}
