"""The log in a real browser: however long it is, however hostile its lines, every one is found and none can act."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from browsers import Watch, open_browser, signed_in
from playwright.async_api import Browser, Page, expect
from web_site import Log, Site, serve

from actors import Database
from buildsys.core.logs import END
from buildsys.objects.log_archive import LogDeleted

pytestmark = pytest.mark.browser

LINES = 1_000_000
BATCH = 20_000
HOSTILE = (
    b'<img src=x onerror="alert(1)">\x1b]8;;javascript:alert(1)\x1b\\link\x1b]8;;\x1b\\\x1b[2J\x1b[31mred\x1b[0m\n'
)
ROWS = 600
"""More rows than a page may have of a log at any time."""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as browser:
        yield browser


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        yield site


@pytest.fixture
async def page(browser: Browser, site: Site) -> AsyncIterator[Page]:
    page = await signed_in(browser, url=site.url, token=site.admin_token)
    watch = Watch(page, url=site.url)
    yield page
    assert [found for found in watch.found if "status of 410" not in found] == []
    await page.close()


async def show(page: Page, site: Site, log: Log, line: str = "") -> None:
    await page.goto(f"{site.url}/#/builds/{log.build}{line}")
    await expect(page.locator("summary").first).to_be_visible()


async def stop(site: Site, log: Log, outcome: str = "failed") -> None:
    await log.end()
    await site.builder.stop(log.build, outcome)
    await site.database.pool.execute("UPDATE jobs SET state = 'stopped', outcome = $1", outcome)
    await site.database.pool.execute("UPDATE steps SET state = 'stopped', outcome = $1", outcome)


async def event(log: Log, kind: str, **data: Any) -> None:
    await log._append(kind, job="j", step=1, data=data)


async def scrolled(page: Page, share: float) -> list[tuple[int, str]]:
    """Scroll the log to a share of its height; the cursor and the text of each line in sight once they are there."""
    await page.get_by_role("log").evaluate(
        "(log, share) => { log.scrollTop = (log.scrollHeight - log.clientHeight) * share; }", share
    )
    found = """log => {
      const frame = log.getBoundingClientRect();
      return [...log.querySelectorAll(".line")].filter((line) => {
        const box = line.getBoundingClientRect();
        return box.top >= frame.top && box.bottom <= frame.bottom;
      }).map((line) => [Number(line.dataset.cursor), line.querySelector("span").textContent]);
    }"""
    async with asyncio.timeout(20):
        while True:
            lines = await page.get_by_role("log").evaluate(found)
            if len(lines) > 10 and all(text for _, text in lines):
                return [(cursor, text) for cursor, text in lines]
            await asyncio.sleep(0.02)


async def test_a_million_lines_are_a_few_in_the_page(page: Page, site: Site) -> None:
    log = await site.log()
    for begin in range(1, LINES, BATCH):
        await log.lines(b"".join(b"this is line %d\n" % number for number in range(begin, begin + BATCH)))
    await stop(site, log)
    await show(page, site, log)
    for share in (1.0, 0.0, 0.5, 0.123, 0.9, 1.0):
        lines = await scrolled(page, share)
        assert all(text == f"this is line {cursor}" for cursor, text in lines), lines
        assert [cursor for cursor, _ in lines] == list(range(lines[0][0], lines[0][0] + len(lines)))
        assert abs(lines[0][0] - share * LINES) < 100, (share, lines[0])
        assert await page.locator(".line").count() < ROWS
    assert await page.evaluate("document.querySelectorAll('*').length") < 4 * ROWS
    await page.get_by_label("Search the log").fill("line 765432")
    await page.get_by_role("button", name="Search", exact=True).click()
    await page.locator(".hit").filter(has_text="this is line 765432").click()
    await expect(page.locator(".line.chosen")).to_have_text("this is line 765432")
    await expect(page.locator(".line.chosen")).to_be_in_viewport()


async def test_a_link_leads_to_its_lines(page: Page, site: Site) -> None:
    log = await site.log()
    for begin in range(1, 20_000, 1000):
        await log.lines(b"".join(b"line %d\n" % number for number in range(begin, begin + 1000)))
    await stop(site, log)
    await show(page, site, log, "#L12345-L12347")
    await expect(page.locator(".line.chosen")).to_have_text(["line 12345", "line 12346", "line 12347"])
    await expect(page.locator(".line.chosen").first).to_be_in_viewport()
    await page.get_by_label("Line 12350").click()
    await expect(page.locator(".line.chosen")).to_have_text(["line 12350"])
    assert page.url.endswith("#L12350")
    await page.get_by_label("Line 12352").click(modifiers=["Shift"])
    await expect(page.locator(".line.chosen")).to_have_text(["line 12350", "line 12351", "line 12352"])
    assert page.url.endswith("#L12350-L12352")


async def test_the_end_of_a_live_log_stays_in_sight_until_one_looks_elsewhere(page: Page, site: Site) -> None:
    log = await site.log()
    await log.lines(b"".join(b"old %d\n" % number for number in range(5000)))
    await site.database.pool.execute("UPDATE steps SET state = 'running' WHERE number = 1")
    await show(page, site, log)
    await expect(page.locator(".line").last).to_have_text("old 4999")
    for number in range(50):
        await log.lines(b"new %d\n" % number)
    await expect(page.locator(".line").last).to_have_text("new 49")
    assert await page.get_by_role("log").evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight") < 2
    lines = await scrolled(page, 0.2)
    await log.lines(b"and more\n" * 100)
    await log.lines(b"the last\n")
    await expect(page.locator(".history")).to_be_visible()
    assert (await page.locator(".line").first.text_content() or "").startswith("old ")
    assert await page.locator(f'[data-cursor="{lines[5][0]}"]').is_visible()
    assert await page.locator(".line").count() < ROWS
    assert (await scrolled(page, 1.0))[-1][1] == "the last"


async def test_groups_fold_and_annotations_stand_at_their_lines(page: Page, site: Site) -> None:
    log = await site.log()
    await log.lines(b"before\n::group::Fetch <b>all</b>\nget 1\nget 2\n")
    await event(log, "group_started", line=2, title="Fetch <b>all</b>")
    await log.lines(b"get 3\n::endgroup::\nbetween\n::error file=a.c,line=7::no <i>semicolon</i>\n::group::Open\n")
    await event(log, "group_ended", line=7)
    await event(log, "annotation", line=9, level="error", message="no <i>semicolon</i>", file="a.c", file_line=7)
    await event(log, "group_started", line=10, title="Open")
    await log.lines(b"still open\n" + HOSTILE)
    await event(log, "annotation", line=4, level="warning", message="slow", title="Network")
    await stop(site, log)
    await show(page, site, log)
    shown = page.get_by_role("log").locator(".line")
    closed = ["before", "Fetch <b>all</b>", "between", "::error file=a.c,line=7::no <i>semicolon</i>", "Open"]
    await expect(shown).to_have_text([*closed, "still open", '<img src=x onerror="alert(1)">linkred'])
    await page.get_by_role("button", name="Fetch").click()
    await expect(shown).to_have_count(11)
    await expect(shown.nth(2)).to_have_text("get 1")
    await page.get_by_role("button", name="Fetch").click()
    await expect(shown).to_have_count(7)
    await expect(page.get_by_role("heading", name="1 error, 1 warning")).to_be_visible()
    await expect(page.locator(".line.error")).to_have_text("::error file=a.c,line=7::no <i>semicolon</i>")
    await expect(page.locator(".annotations")).to_contain_text("a.c:7")
    await page.get_by_label("Search the log").fill("IMG SRC")
    await page.get_by_role("button", name="Search", exact=True).click()
    await expect(page.locator(".hit")).to_have_text('<img src=x onerror="alert(1)">linkred')
    await expect(page.locator(".hit mark")).to_have_text("img src")
    await page.get_by_role("link").filter(has_text="slow").click()
    await expect(page.locator(".line.warning.chosen")).to_have_text("get 2")
    assert await page.locator("img[src=x], .log script, .annotations i, .log b").count() == 0


async def test_a_line_in_parts_is_one_line(page: Page, site: Site) -> None:
    """Live and from history, with what stands at any of its parts; also between the lines of another step."""
    log = await site.log()
    await log.lines(b"first\nin ")
    await log.lines(b"three ")
    await event(log, "notice", text="between")
    await log.lines(b"parts\nsecond\n")
    await event(log, "annotation", line=5, level="error", message="broke")
    await site.database.pool.execute("UPDATE steps SET state = 'running' WHERE number = 1")
    await show(page, site, log)
    shown = page.get_by_role("log").locator(".line")
    await expect(shown).to_have_text(["first", "in three parts", "second"])
    await expect(page.locator(".line.error")).to_have_text("in three parts")
    await log.lines(b"50%")
    await expect(shown.last).to_have_text("50%")
    await log.lines(b" 100%\nlast\n")
    await expect(shown).to_have_text(["first", "in three parts", "second", "50% 100%", "last"])
    await page.get_by_label("Search the log").fill("parts")
    await page.get_by_role("button", name="Search", exact=True).click()
    await page.locator(".hit").click()
    await expect(page.locator(".line.chosen")).to_have_text("in three parts")


async def test_what_a_log_is_worth_is_shown(page: Page, site: Site) -> None:
    log = await site.log()
    await event(log, "step_started")
    await log.lines(b"one\n")
    await show(page, site, log)
    await expect(page.locator(".seal")).to_be_hidden()
    await event(log, "step_stopped")
    await stop(site, log)
    await expect(page.locator(".seal")).to_have_text("log complete")
    await site.database.pool.execute("UPDATE log_records SET at = at + interval '1 s' WHERE first = 1")
    await page.reload()
    await expect(page.locator(".seal")).to_have_text("log broken: at entry 1")


async def test_a_deleted_log_says_so(page: Page, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    log = await site.log()
    await stop(site, log)

    async def deleted(*_: Any, **__: Any) -> Any:
        raise LogDeleted("the log was deleted at 2026-03-01 12:00 UTC, by the rule about age")

    monkeypatch.setattr(type(site.stores.logs), "read", deleted)
    async with site.admin.get(f"/api/v1/builds/{log.build}/logs") as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (410, "log_deleted")
    await show(page, site, log)
    await expect(page.get_by_text("the log was deleted at 2026-03-01 12:00 UTC, by the rule about age")).to_be_visible()


async def test_packed_text_is_whole_in_a_browser(page: Page, site: Site) -> None:
    log = await site.log()
    for begin in range(20):
        await log.lines(b"".join(b"%d: words\n" % number for number in range(begin * 1000, begin * 1000 + 1000)))
    await log.event(END, outcome="success")
    text = await page.evaluate(
        "path => fetch(path, {headers: {Accept: 'text/plain'}}).then((answer) => answer.text())",
        f"/api/v1/builds/{log.build}/logs",
    )
    assert text.encode() == log.printed
