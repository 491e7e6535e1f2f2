"""Secrets and variables over HTTP: values come in, and those of secrets never go out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from web_site import Site, serve

from actors import Database
from buildsys.core.secret_names import LARGEST_VALUE

VALUE = "hunter2-correct-horse"


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        yield site


async def call(site: Site, method: str, path: str, body: Any = None, *, status: int = 200) -> tuple[Any, str]:
    """The JSON answer of a call that must end with this status, and all that was sent with it."""
    async with site.admin.request(method, f"/api/v1{path}", json=body) as response:
        text = await response.text()
        assert response.status == status, text
        return json.loads(text) if text else None, f"{response.headers}{text}"


@pytest.mark.parametrize("place", ["", "/projects/shop"])
async def test_a_secret_from_its_setting_to_its_end(site: Site, place: str) -> None:
    project = await site.project()
    told = list[str]()
    made, text = await call(site, "PUT", f"{place}/secrets/deploy_key", {"value": VALUE}, status=201)
    told.append(text)
    assert (made["name"], made["set_by"]) == ("DEPLOY_KEY", "alice")
    replaced, text = await call(site, "PUT", f"{place}/secrets/DEPLOY_KEY", {"value": f"{VALUE}!"})
    told.append(text)
    listed, text = await call(site, "GET", f"{place}/secrets")
    told.append(text)
    assert listed == {"secrets": [replaced]}
    assert replaced.keys() == {"name", "scope", "set_at", "set_by"}
    assert await site.stores.secrets.named(project.id, ["DEPLOY_KEY"]) == {"DEPLOY_KEY": f"{VALUE}!"}
    await call(site, "DELETE", f"{place}/secrets/Deploy_Key", status=204)
    _, text = await call(site, "DELETE", f"{place}/secrets/DEPLOY_KEY", status=404)
    assert (await call(site, "GET", f"{place}/secrets"))[0] == {"secrets": []}
    assert VALUE not in "".join(told)


async def test_a_project_shows_what_holds_for_it(site: Site) -> None:
    await site.project()
    for place in ("", "/projects/shop"):
        await call(site, "PUT", f"{place}/variables/REGION", {"value": place or "all"}, status=201)
    await call(site, "PUT", "/variables/COLOUR", {"value": "red"}, status=201)
    listed, _ = await call(site, "GET", "/projects/shop/variables")
    assert [(each["name"], each["scope"], each["value"]) for each in listed["variables"]] == [
        ("COLOUR", "account", "red"),
        ("REGION", "project", "/projects/shop"),
    ]
    assert (await call(site, "GET", "/secrets"))[0] == {"secrets": []}
    for method, path in (
        ("GET", "/projects/nope/secrets"),
        ("PUT", "/projects/nope/secrets/A"),
        ("DELETE", "/projects/nope/secrets/A"),
    ):
        await call(site, method, path, {"value": VALUE}, status=404)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/secrets/1KEY", {"value": VALUE}, 422),
        ("/secrets/A-B", {"value": VALUE}, 422),
        ("/secrets/A%3D" + VALUE, {"value": VALUE}, 422),
        ("/secrets/A%00", {"value": VALUE}, 422),
        ("/secrets/GITHUB_SHA", {"value": VALUE}, 422),
        ("/variables/GITHUB_TOKEN", {"value": VALUE}, 422),
        ("/secrets/KEY", {"value": ""}, 422),
        ("/secrets/KEY", {"value": f"{VALUE}\0"}, 422),
        ("/secrets/KEY", {"value": VALUE * (LARGEST_VALUE // len(VALUE) + 1)}, 422),
        ("/secrets/KEY", {"value": [VALUE]}, 422),
        ("/secrets/KEY", {"value": "x", VALUE: "x"}, 422),
        ("/secrets/KEY", {}, 422),
        ("/secrets/KEY", VALUE, 422),
    ],
)
async def test_what_is_refused_is_not_repeated(site: Site, path: str, body: Any, status: int) -> None:
    with capture_logs() as logs:
        problem, text = await call(site, "PUT", path, body, status=status)
    assert problem["detail"]
    if not isinstance(body, dict) or VALUE not in body:  # a field's name is told: it is not where a value belongs
        assert VALUE not in text
    assert logs == []
    assert await site.database.pool.fetchval("SELECT count(*) FROM named_values") == 0


async def test_a_body_that_cannot_be_read_is_not_repeated(site: Site) -> None:
    for body in (f'{{"value": "{VALUE}'.encode(), VALUE.encode(), f'{{"value": "{VALUE}'.encode() + b'\xff"}'):
        async with site.admin.put("/api/v1/secrets/KEY", data=body) as response:
            assert response.status == 400
            assert VALUE not in await response.text()
    async with site.admin.put("/api/v1/secrets/KEY", data=b'{"value": "\\ud800"}') as response:
        assert response.status in (400, 422)


async def test_who_set_and_removed_what_is_logged_without_the_value(site: Site) -> None:
    await site.project()
    with capture_logs() as logs:
        await call(site, "PUT", "/secrets/KEY", {"value": VALUE}, status=201)
        await call(site, "PUT", "/projects/shop/secrets/key", {"value": VALUE}, status=201)
        await call(site, "PUT", "/projects/shop/variables/REGION", {"value": VALUE}, status=201)
        await call(site, "DELETE", "/projects/shop/secrets/KEY", status=204)
        await call(site, "DELETE", "/projects/shop/secrets/KEY", status=404)
    told = [(line["event"], line["name"], line["scope"], line["project"], line["by"]) for line in logs]
    assert told == [
        ("secret_set", "KEY", "account", None, "alice"),
        ("secret_set", "KEY", "project", "shop", "alice"),
        ("variable_set", "REGION", "project", "shop", "alice"),
        ("secret_removed", "KEY", "project", "shop", "alice"),
    ]
    assert VALUE not in repr(logs)


async def test_only_administrators_set_read_and_remove(site: Site) -> None:
    for session, status in ((site.runner, 403), (site.nobody, 401)):
        for method, path in (("PUT", "/secrets/KEY"), ("GET", "/secrets"), ("DELETE", "/secrets/KEY")):
            async with session.request(method, f"/api/v1{path}", json={"value": VALUE}) as response:
                assert response.status == status
