"""A real browser, and a watch on what its pages do."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, ConsoleMessage, Dialog, Page, async_playwright, expect

QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-default-apps", "--no-first-run", "--metrics-recording-only"),
)


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Chromium; without one the test is skipped, or fails where it is required."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("BUILDSYS_TEST_REQUIRE_BROWSER") == "1":
            pytest.fail("there is no chromium on this host")
        pytest.skip("there is no chromium on this host")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        yield browser
        await browser.close()


async def signed_in(browser: Browser, *, url: str, token: str) -> Page:
    """A new page of the site, whose builds it shows."""
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    await sign_in(page, url, token)
    return page


async def sign_in(page: Page, url: str, token: str) -> None:
    await page.goto(url)
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Builds")).to_be_visible()


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
