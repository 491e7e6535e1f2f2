"""Summaries, and how jobs and steps stand: in the API, in a real browser, and on the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from browsers import Watch, open_browser, signed_in
from cli_command import Command
from playwright.async_api import Page, expect
from web_site import Site, serve

from actors import Database

SUMMARY = """# Tests

**12 passed**, *1 skipped*, see [the run](https://ci.example/1) or `make test`.

| Suite | Passed |
|:--|--:|
| web | 7 |
| <b>core</b> | 5 |

- [x] built
  - for arm64
1. deployed

> a word
> of warning

```sh
echo '<i>code</i>' **not bold**
```
<img src=x onerror="alert(1)"><script>alert(2)</script>
[click](javascript:alert(3)) ![pixel](https://evil.example/p.png) <a href="https://evil.example">x</a>
"""
PATHOLOGICAL = (
    "[" * 50_000,
    "*" * 50_000,
    "`" * 50_001,
    "|a|\n|-" + " " * 90_000 + "x",
    "> " * 40_000,
    "- x\n" * 20_000,
)


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        yield site


@pytest.fixture
async def page(site: Site) -> AsyncIterator[Page]:
    async with open_browser() as browser:
        page = await signed_in(browser, url=site.url, token=site.admin_token)
        watch = Watch(page, url=site.url)
        yield page
        assert watch.found == []


async def build_with(site: Site, summary: str) -> UUID:
    """A build whose step has failed, which it may, and whose action has a step that wrote a summary."""
    build = await site.build(await site.project())
    run = site.database.pool.execute
    await run(
        "UPDATE jobs SET decided = true, state = 'stopped', outcome = 'failed', tolerated = true, timeout = 30,"
        " reason = 'the tests failed' WHERE build = $1",
        build,
    )
    await run("UPDATE steps SET state = 'stopped', outcome = 'failed', tolerated = true WHERE number = 1")
    await run(
        "INSERT INTO steps (build, job, number, name, parent, state, outcome, summary)"
        " VALUES ($1, 'j', 1001, 'Within', 1, 'stopped', 'success', $2),"
        " ($1, 'j', 2, 'Last', NULL, 'stopped', 'success', NULL)",
        build,
        summary,
    )
    return build


async def test_a_build_tells_what_is_tolerated_and_where_there_is_a_summary(site: Site) -> None:
    build = await build_with(site, SUMMARY)
    async with site.admin.get(f"/api/v1/builds/{build}") as response:
        (job,) = (await response.json())["jobs"]
    assert (job["tolerated"], job["time_limit"]) == (True, 30.0)
    told = [(step["number"], step["parent"], step["tolerated"], step["summary"]) for step in job["steps"]]
    assert told == [
        (0, None, False, None),
        (1, None, True, None),
        (2, None, False, None),
        (1001, 1, False, len(SUMMARY)),
    ]


async def test_a_summary_is_text_that_nobody_takes_for_a_page(site: Site) -> None:
    build = await build_with(site, SUMMARY)
    async with site.admin.get(f"/api/v1/builds/{build}/summary?job=j&step=1001") as response:
        assert (response.status, await response.text()) == (200, SUMMARY)
        assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"].startswith("default-src 'self'")
    for query, status in (("job=j&step=1", 404), ("job=k&step=1001", 404), ("job=j", 422), ("job=j&step=-1", 422)):
        async with site.admin.get(f"/api/v1/builds/{build}/summary?{query}") as response:
            assert response.status == status, query
    async with site.nobody.get(f"/api/v1/builds/{build}/summary?job=j&step=1001") as response:
        assert response.status == 401


@pytest.mark.browser
async def test_the_page_shows_markdown_and_nothing_of_it_acts(site: Site, page: Page) -> None:
    build = await build_with(site, SUMMARY)
    await page.goto(f"{site.url}/#/builds/{build}")
    shown = page.get_by_role("region", name="Summary of Within")
    await expect(shown.get_by_role("heading", name="Tests")).to_be_visible()
    await expect(shown.locator("strong")).to_have_text("12 passed")
    await expect(shown.locator("em")).to_have_text("1 skipped")
    await expect(shown.locator("tbody td")).to_have_text(["web", "7", "<b>core</b>", "5"])
    await expect(shown.locator("pre")).to_have_text("echo '<i>code</i>' **not bold**")
    await expect(shown.locator("li")).to_have_text(["☑ builtfor arm64", "for arm64", "deployed"])
    await expect(shown.locator("blockquote")).to_contain_text("a word")
    await expect(shown).to_contain_text('<img src=x onerror="alert(1)"><script>alert(2)</script>')
    links = await shown.locator("a").evaluate_all("links => links.map((link) => [link.href, link.rel])")
    safe = "noopener noreferrer nofollow"
    assert links == [["https://ci.example/1", safe], ["https://evil.example/p.png", safe]]
    assert await shown.locator("img, script, b, i, [onerror]").count() == 0


@pytest.mark.browser
async def test_the_page_shows_what_may_fail_and_what_is_within(site: Site, page: Page) -> None:
    build = await build_with(site, SUMMARY)
    await page.goto(f"{site.url}/#/builds/{build}")
    steps = page.locator("details.step")
    await expect(steps).to_have_count(4)
    names = [await steps.nth(number).locator("summary").inner_text() for number in range(4)]
    assert [" ".join(name.split("\n")[1:]).strip() for name in names] == [
        "Set up job",
        "s allowed to fail",
        "Within",
        "Last",
    ]
    await expect(page.locator("details.within summary")).to_contain_text("Within")
    await expect(page.locator(".job > .row")).to_contain_text("allowed to fail")
    await expect(page.get_by_title("It may take 30 s")).to_be_attached()


@pytest.mark.browser
@pytest.mark.parametrize("text", PATHOLOGICAL, ids=range(len(PATHOLOGICAL)))
async def test_no_summary_holds_up_the_page(page: Page, text: str) -> None:
    took = await page.evaluate(
        "text => import('/ui/markdown.js').then(({ markdown }) => {"
        " const began = performance.now(); markdown(text); return performance.now() - began; })",
        text,
    )
    assert took < 3000


async def test_the_command_line_shows_all_of_it(site: Site) -> None:
    build = await build_with(site, "# Good\n\x1b]0;owned\x07done\n")
    buildsys = Command(BUILDSYS_SERVER=site.url, BUILDSYS_TOKEN=site.admin_token)
    shown = await buildsys("build", "show", "shop#1")
    assert "j  failed (the tests failed; allowed to fail)" in shown.text
    told = [line.strip() for line in shown.text.splitlines() if line.strip()[:1].isdigit()]
    assert told == [
        "0  Set up job  queued",
        "1  s  failed, allowed to fail",
        "1001  Within  success",
        "2  Last  success",
    ]
    assert "      1001  Within" in shown.text, "steps of an action stand further in"
    assert f"buildsys build summary {build}" in shown.text
    summary = await buildsys("build", "summary", "shop#1")
    assert (summary.text.startswith("# Good\n"), summary.code) == (True, 0)
    none = await buildsys("build", "summary", "shop#1", "--job", "other")
    assert (none.text, none.errors) == ("", "No step has written a summary.\n")
