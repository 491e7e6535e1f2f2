"""Who may do what: every route of the table, tokens, sessions, and what an error tells."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from uuid import uuid4

import pytest
from aiohttp import ClientResponse
from web_site import Site, serve

from actors import Database
from buildsys.errors import Unavailable
from buildsys.web.app import Route, routes
from buildsys.web.auth import ADMIN, COOKIE, PUBLIC, SESSION, Authentication
from buildsys.web.log_feed import LogFeed


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        yield site


def table(site: Site) -> list[Route]:
    return routes(
        stores=site.stores,
        services=site.services,
        settings=site.settings,
        authentication=Authentication(tokens=site.stores.tokens, settings=site.settings),
        feed=LogFeed(logs=site.stores.logs, hints=site.hints),
    )


def path_of(route: Route) -> str:
    return route.path.format_map({"project": "shop", "build": uuid4(), "token": uuid4(), "name": "KEY", "path": "x"})


async def assert_problem(response: ClientResponse, status: int, code: str) -> dict[str, object]:
    assert response.status == status
    assert response.content_type == "application/problem+json"
    body = await response.json(content_type=None)
    assert body["status"] == status
    assert body["code"] == code
    assert body["request_id"] == response.headers["X-Request-ID"]
    return body


async def test_every_route_but_the_open_ones_wants_a_token_with_the_right_role(site: Site) -> None:
    guarded = [route for route in table(site) if route.access != PUBLIC]
    assert len(guarded) >= 19
    for route in guarded:
        for headers in ({}, {"Authorization": "Bearer bst_wrong"}, {"Authorization": "Basic YTpi"}):
            async with site.nobody.request(route.method, path_of(route), headers=headers) as response:
                await assert_problem(response, 401, "unauthorized")
                assert response.headers["WWW-Authenticate"] == "Bearer"
        if route.access == ADMIN:
            async with site.runner.request(route.method, path_of(route)) as response:
                await assert_problem(response, 403, "forbidden")


async def test_the_open_routes_are_these(site: Site) -> None:
    assert {route.path for route in table(site) if route.access == PUBLIC} == {
        "/",
        "/ui/{path:.+}",
        "/healthz",
        "/readyz",
        "/login",
        "/hooks/github/{project}",
    }


async def test_a_revoked_and_an_expired_token_are_refused(site: Site) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    _, expired = await site.stores.tokens.create("old", role="admin", expires_at=past)
    revoked_id, revoked = await site.stores.tokens.create("gone", role="admin")
    headers = {"Authorization": f"Bearer {revoked}"}
    async with site.nobody.get("/api/v1/tokens", headers=headers) as response:
        assert response.status == 200
    async with site.admin.delete(f"/api/v1/tokens/{revoked_id}") as response:
        assert response.status == 204
    for token in (expired, revoked):
        async with site.nobody.get("/api/v1/tokens", headers={"Authorization": f"Bearer {token}"}) as response:
            await assert_problem(response, 401, "unauthorized")


async def log_in(site: Site, token: str) -> str:
    headers = {"Origin": site.url, "X-Requested-With": "buildsys"}
    async with site.nobody.post("/login", json={"token": token}, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert await response.json() == {"name": "alice", "role": "admin"}
        cookie = response.cookies[COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert token not in cookie.value
    return f"{COOKIE}={cookie.value}"


async def test_a_session_ends_with_its_token(site: Site) -> None:
    cookie = {"Cookie": await log_in(site, site.admin_token)}
    async with site.nobody.get("/api/v1/projects", headers=cookie) as response:
        assert response.status == 200
    await site.stores.tokens.revoke(site.admin_id)
    async with site.nobody.get("/api/v1/projects", headers=cookie) as response:
        await assert_problem(response, 401, "unauthorized")


async def test_a_session_changes_things_only_from_our_own_page(site: Site) -> None:
    cookie = {"Cookie": await log_in(site, site.admin_token)}
    own = {"X-Requested-With": "buildsys"}
    refused: list[dict[str, str]] = [
        {},
        own,
        {"Origin": site.url},
        {"Origin": "https://evil.example", **own},
        {"Origin": "null", **own},
        {"Sec-Fetch-Site": "cross-site", **own},
        {"Sec-Fetch-Site": "same-origin"},
    ]
    for headers in refused:
        for method, path in (("POST", "/api/v1/tokens"), ("POST", "/logout"), ("DELETE", "/api/v1/projects/shop")):
            async with site.nobody.request(method, path, json={}, headers={**cookie, **headers}) as response:
                await assert_problem(response, 403, "forbidden")
    for headers in ({"Origin": site.url}, {"Origin": site.settings.public_url}, {"Sec-Fetch-Site": "same-origin"}):
        body = {"name": "ci", "role": "runner"}
        async with site.nobody.post("/api/v1/tokens", json=body, headers={**cookie, **own, **headers}) as response:
            assert response.status == 201
    async with site.nobody.post("/logout", headers={**cookie, **own, "Origin": site.url}) as response:
        assert response.status == 204
        assert response.cookies[COOKIE]["max-age"] == "0"


async def test_login_is_for_administrators_and_our_own_page(site: Site) -> None:
    own = {"Origin": site.url, "X-Requested-With": "buildsys"}
    _, runner = await site.stores.tokens.create("r", role="runner")
    for token, headers, status, code in (
        (site.admin_token, {"Origin": "https://evil.example", "X-Requested-With": "buildsys"}, 403, "forbidden"),
        (runner, own, 403, "forbidden"),
        ("bst_wrong", own, 401, "unauthorized"),
        ("\N{SNOWMAN}", own, 401, "unauthorized"),
    ):
        async with site.nobody.post("/login", json={"token": token}, headers=headers) as response:
            await assert_problem(response, status, code)
            assert COOKIE not in response.cookies


async def test_a_session_expires_and_cannot_be_made_up(site: Site) -> None:
    cookie = await log_in(site, site.admin_token)
    later = Authentication(tokens=site.stores.tokens, settings=site.settings, now=lambda: time.time() + SESSION + 1)
    value = cookie.partition("=")[2]
    assert later.session_token(value) is None
    assert Authentication(tokens=site.stores.tokens, settings=site.settings).session_token(value) == site.admin_token
    for forged in ("", "x", value[:-4] + "AAA=", value.swapcase()):
        async with site.nobody.get("/api/v1/projects", headers={"Cookie": f"{COOKIE}={forged}"}) as response:
            await assert_problem(response, 401, "unauthorized")


async def test_our_own_failures_tell_nothing_but_the_request(site: Site) -> None:
    await site.project()
    async with site.admin.post(
        "/api/v1/projects/shop/builds", json={"branch": "burst"}, headers={"X-Request-ID": "find-me.1"}
    ) as response:
        body = await assert_problem(response, 500, "internal_error")
    assert body == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "code": "internal_error",
        "request_id": "find-me.1",
    }


async def test_what_is_not_there_is_a_problem_too(site: Site) -> None:
    async with site.admin.get("/api/v1/nothing") as response:
        await assert_problem(response, 404, "not_found")
    async with site.admin.put("/api/v1/tokens") as response:
        await assert_problem(response, 405, "method_not_allowed")
        assert response.headers["Allow"] == "GET,POST"
    for path in ("/ui/nothing.js", "/ui/../app.py", "/ui/%2e%2e/app.py", "/ui//etc/passwd", "/ui/%00"):
        async with site.nobody.get(path) as response:
            await assert_problem(response, 404, "not_found")


async def test_a_body_may_be_a_mebibyte_and_a_delivery_more(site: Site) -> None:
    body = b'{"name": "' + b"x" * (1 << 20) + b'"}'
    async with site.admin.post("/api/v1/tokens", data=BytesIO(body)) as response:
        await assert_problem(response, 413, "request_entity_too_large")
    signed = {
        "X-GitHub-Delivery": "d",
        "X-GitHub-Event": "push",
        "X-Hub-Signature-256": "sha256=" + "0" * 64,
    }
    async with site.nobody.post("/hooks/github/shop", data=BytesIO(bytes(25 << 20)), headers=signed) as response:
        await assert_problem(response, 401, "unauthorized")
    async with site.nobody.post("/hooks/github/shop", data=BytesIO(bytes((25 << 20) + 1)), headers=signed) as response:
        await assert_problem(response, 413, "request_entity_too_large")


async def test_the_page_and_all_it_loads_are_served(site: Site) -> None:
    async with site.nobody.get("/") as response:
        assert response.content_type == "text/html"
        page = await response.text()
    assets = re.findall(r'(?:src|href)="(/[^"]*)"', page)
    assert assets
    for asset in assets:
        async with site.nobody.get(asset) as response:
            assert response.status == 200
            assert response.headers["ETag"]


async def test_browsers_are_told_to_guess_nothing(site: Site) -> None:
    for path in ("/", "/healthz", "/api/v1/tokens"):
        async with site.nobody.get(path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'self'" in response.headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


async def test_ready_says_what_is_away(site: Site) -> None:
    for method in ("GET", "HEAD"):
        for path in ("/healthz", "/readyz"):
            async with site.nobody.request(method, path) as response:
                assert response.status == 200
    site.unready = Unavailable("the database does not answer")
    async with site.nobody.get("/readyz") as response:
        body = await assert_problem(response, 503, "unavailable")
        assert body["detail"] == "the database does not answer"
    async with site.nobody.head("/readyz") as response:
        assert (response.status, await response.read()) == (503, b"")
    async with site.nobody.get("/healthz") as response:
        assert response.status == 200
