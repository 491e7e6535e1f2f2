"""The page, in a real browser: what people see and click, and that nothing which a build prints can act in it.

BUILDSYS_SCREENSHOTS names a folder for pictures of every page.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, ConsoleMessage, Dialog, Page, async_playwright, expect
from system import Repository, System, until

pytestmark = pytest.mark.browser

QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-default-apps", "--no-first-run", "--metrics-recording-only"),
)

HOSTILE = '<img src=x onerror="alert(1)">'
HOSTILE_TITLE = "<script>alert('title')</script> Read the menu <b>twice</b>"
SEQUENCES = (
    r"printf '\033[1;31mred\033[0m and \033[32mgreen\033[0m\n'; "
    r"printf '\033]0;a window title\007\033]8;;javascript:alert(1)\033\\a link\033]8;;\033\\ \033[2J\033[10Aplain\n'"
)
SCRIPT = f"echo '{HOSTILE}'; {SEQUENCES}; i=0; while :; do i=$((i + 1)); echo line $i; sleep 0.1; done"


class Watch:
    """What a page did that it must not: errors, dialogs, requests to others, breaches of its own policy."""

    def __init__(self, page: Page, *, url: str) -> None:
        self.found: list[str] = []
        self._url = url
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.found.append(f"error: {error}"))
        page.on("dialog", self._on_dialog)
        page.on("request", lambda request: self._on_request(request.url))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.found.append(f"console: {message.text} ({message.location.get('url')})")

    async def _on_dialog(self, dialog: Dialog) -> None:
        self.found.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def _on_request(self, url: str) -> None:
        path = url.removeprefix(self._url)
        if path == url or not re.match(r"/(ui/|api/v1/|login|logout|$|#)", path):
            self.found.append(f"request: {url}")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("BUILDSYS_TEST_REQUIRE_BROWSER") == "1":
            pytest.fail("there is no chromium on this host")
        pytest.skip("there is no chromium on this host")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        yield browser
        await browser.close()


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
    assert await log.locator("img, script, a").count() == 0
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


async def picture(page: Page, scheme: str, name: str) -> None:
    folder = os.environ.get("BUILDSYS_SCREENSHOTS")
    if folder:
        await page.screenshot(path=Path(folder) / f"{scheme}-{name}.png")


async def _more(system: System, known: int) -> bool:
    return len(await system.builds("menu")) > known


def _workflow(name: str, steps: list[dict[str, str]]) -> dict[str, object]:
    return {"name": name, "on": "push", "jobs": {"kitchen": {"runs-on": "linux", "steps": steps}}}
