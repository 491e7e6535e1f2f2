"""Projects, builds, tokens, deliveries and runners over HTTP."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import zstandard
from web_site import Site, serve, sign

from actors import Database
from buildsys.core.assignment import (
    ContainerStarted,
    Item,
    JobStopped,
    LogBatch,
    Poll,
    PollReply,
    Report,
    ReportReply,
    StepStopped,
)
from buildsys.core.build import Outcome
from buildsys.core.project import ProjectSettings

SHOP = {"name": "shop", "repository": "https://git.example/shop.git"}


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        yield site


async def call(site: Site, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    """The JSON answer of a call that must end with this status."""
    async with site.admin.request(method, f"/api/v1{path}", json=body) as response:
        text = await response.text()
        assert response.status == status, text
        return json.loads(text) if text else None


async def test_a_project_from_its_making_to_its_end(site: Site) -> None:
    credential = {"username": "ci", "password": "hunter2"}
    made = await call(site, "POST", "/projects", SHOP | {"image": "alpine", "credential": credential}, status=201)
    assert made["webhook"]["url"] == "http://ci.example:8080/hooks/github/shop"
    assert len(made["webhook"]["secret"]) == 64
    assert made["has_credential"]
    assert await call(site, "GET", "/projects/shop/webhook") == made["webhook"]

    shown = await call(site, "GET", "/projects/shop")
    assert shown == made | {"webhook": {"url": made["webhook"]["url"]}}
    assert "hunter2" not in json.dumps([made, shown])

    changed = await call(site, "PATCH", "/projects/shop", {"max_running": 2, "image": None})
    assert (changed["max_running"], changed["image"], changed["has_credential"]) == (2, None, True)
    assert not changed["trusted"]
    changed = await call(site, "PATCH", "/projects/shop", {"trusted": True})
    assert (await site.stores.projects.get("shop")).settings.trusted
    changed = await call(site, "PATCH", "/projects/shop", {"credential": None})
    assert changed["trusted"]
    assert (changed["max_running"], changed["has_credential"]) == (2, False)

    await call(site, "POST", "/projects", SHOP, status=409)
    await call(site, "DELETE", "/projects/shop", status=204)
    for method in ("GET", "DELETE", "PATCH"):
        await call(site, method, "/projects/shop", {}, status=404)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"name": "shop"}, "repository"),
        (SHOP | {"name": "Shop"}, "$.name"),
        (SHOP | {"name": "shop\n"}, "$.name"),
        (SHOP | {"name": "-shop"}, "$.name"),
        (SHOP | {"name": "x" * 64}, "$.name"),
        (SHOP | {"image": "a\0b"}, "$.image"),
        (SHOP | {"max_running": 0}, "$.max_running"),
        (SHOP | {"trusted": "yes"}, "$.trusted"),
        (SHOP | {"max_running": 1.5}, "$.max_running"),
        (SHOP | {"colour": "red"}, "colour"),
        (SHOP | {"credential": {"username": "a", "password": "b", "totp": "c"}}, "totp"),
        (SHOP | {"credential": {"username": "a", "password": "b\nhost=evil"}}, "credential"),
        (SHOP | {"repository": "ext::sh -c id"}, "repository"),
        (SHOP | {"repository": "/etc"}, "local repositories"),
        (SHOP | {"repository": "https://u:secret@git.example/x"}, "password"),
        ([], "object"),
    ],
)
async def test_a_wrong_project_is_refused_by_the_part_that_is_wrong(site: Site, body: Any, named: str) -> None:
    answer = await call(site, "POST", "/projects", body, status=422)
    assert answer["code"] == "invalid"
    assert named in answer["detail"]
    assert "secret@" not in answer["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'"\\ud800"'])
async def test_what_is_not_json_is_a_bad_request(site: Site, body: bytes) -> None:
    async with site.admin.post("/api/v1/projects", data=body) as response:
        assert response.status == 400, await response.text()


async def test_no_name_in_a_path_can_hurt(site: Site) -> None:
    for name in ("%00", "%ff", "a%0a", "..%2f..%2fetc", "x" * 2000, "%27%3B--"):
        async with site.admin.get(f"/api/v1/projects/{name}") as response:
            assert response.status == 404
    for id in ("1", "%00", str(uuid4())):
        await call(site, "GET", f"/builds/{id}", status=404)
        await call(site, "DELETE", f"/tokens/{id}", status=404)


async def test_projects_come_in_pages_with_their_latest_build(site: Site) -> None:
    for name in ("a", "b", "c"):
        await site.stores.projects.create(name, ProjectSettings(repository="https://git.example/x"))
    await call(site, "POST", "/projects/b/builds", {}, status=201)
    first = await call(site, "GET", "/projects?limit=2")
    second = await call(site, "GET", f"/projects?limit=2&after={first['next']}")
    assert [project["name"] for project in first["projects"]] == ["a", "b"]
    assert [project["name"] for project in second["projects"]] == ["c"]
    assert second["next"] is None
    assert first["projects"][0]["latest_build"] is None
    assert first["projects"][1]["latest_build"]["state"] == "queued"
    assert (await call(site, "GET", "/projects/b"))["latest_build"] == first["projects"][1]["latest_build"]
    for query in ("limit=0", "limit=x", "limit=201", "sort=name", "after=%00"):
        await call(site, "GET", f"/projects?{query}", status=422)


async def test_builds_come_in_pages_newest_first(site: Site) -> None:
    project = await site.project()
    other = await site.project("other")
    made = [str(await site.build(project)) for _ in range(5)]
    await site.build(other)
    await site.builder.stop(UUID(made[1]), "success")

    seen, cursor = list[str](), ""
    while True:
        page = await call(site, "GET", f"/builds?project=shop&limit=2{cursor}")
        assert len(page["builds"]) <= 2
        seen += [build["id"] for build in page["builds"]]
        if page["next"] is None:
            break
        cursor = f"&before={page['next']}"
    assert seen == made[::-1]

    stopped = await call(site, "GET", "/builds?state=stopped")
    assert [build["id"] for build in stopped["builds"]] == [made[1]]
    assert len((await call(site, "GET", "/builds"))["builds"]) == 6


async def test_builds_are_found_by_their_ids(site: Site) -> None:
    project = await site.project()
    made = [str(await site.build(project)) for _ in range(3)]
    page = await call(site, "GET", f"/builds?ids={made[2]},{made[0]},{uuid4()}")
    assert {build["id"] for build in page["builds"]} == {made[0], made[2]}
    assert (await call(site, "GET", "/builds?ids="))["builds"] == []
    await call(site, "GET", "/builds?ids=1", status=422)
    await call(site, "GET", "/builds?ids=" + ",".join([made[0]] * 101), status=422)


async def test_a_page_of_builds_has_no_other_cursors_than_its_own(site: Site) -> None:
    for cursor in ("1", "x-y", f"{'9' * 30}-{uuid4().hex}", "-", "1-1"):
        assert (await call(site, "GET", f"/builds?before={cursor}", status=400))["code"] == "bad_request"
    await call(site, "GET", "/builds?state=resting", status=422)
    await call(site, "GET", "/builds?project=nobody", status=404)


async def test_a_build_is_started_canceled_and_tried_again(site: Site) -> None:
    await site.project()
    (started,) = (await call(site, "POST", "/projects/shop/builds", {"branch": "topic"}, status=201))["builds"]
    path = f"/builds/{started['id']}"
    assert (started["branch"], started["state"], started["number"]) == ("topic", "queued", 1)
    shown = await call(site, "GET", path)
    assert [entry["state"] for entry in shown["history"]] == ["queued"]
    assert [step["number"] for step in shown["jobs"][0]["steps"]] == [0, 1]

    await call(site, "POST", f"{path}/retry", status=409)
    canceled = await call(site, "POST", f"{path}/cancel", status=202)
    assert (canceled["state"], canceled["outcome"]) == ("stopped", "canceled")
    assert await call(site, "POST", f"{path}/cancel", status=200) == canceled
    assert site.builder.canceled == [(UUID(started["id"]), "alice")]

    again = await call(site, "POST", f"{path}/retry", status=201)
    assert (again["number"], again["attempt"], again["retry_of"]) == (1, 2, started["id"])


async def test_a_start_names_a_branch_or_a_commit(site: Site) -> None:
    await site.project()
    async with site.admin.post("/api/v1/projects/shop/builds") as response:
        assert response.status == 201
    for body in (
        {"branch": "a", "commit": "c" * 40},
        {"branch": "--upload-pack=x"},
        {"branch": "a\0"},
        {"commit": "HEAD"},
        {"tag": "v1"},
    ):
        await call(site, "POST", "/projects/shop/builds", body, status=422)


async def test_tokens_are_shown_once(site: Site) -> None:
    made = await call(site, "POST", "/tokens", {"name": "ci", "role": "runner", "expires_in_days": 30}, status=201)
    listed = (await call(site, "GET", "/tokens"))["tokens"]
    assert [(token["name"], token["role"]) for token in listed][-1] == ("ci", "runner")
    assert listed[-1]["expires_at"] is not None
    assert made["token"] not in json.dumps(listed)
    await call(site, "DELETE", f"/tokens/{made['id']}", status=204)
    for body in ({"name": "", "role": "admin"}, {"name": "x", "role": "king"}, {"name": "x\0", "role": "admin"}):
        await call(site, "POST", "/tokens", body, status=422)


async def deliver(site: Site, body: bytes, secret: str, *, project: str = "shop", **headers: str) -> tuple[int, Any]:
    sent = {"X-GitHub-Delivery": "d-1", "X-GitHub-Event": "push", "X-Hub-Signature-256": sign(body, secret)} | headers
    async with site.nobody.post(f"/hooks/github/{project}", data=body, headers=sent) as response:
        return response.status, await response.json(content_type=None)


async def test_a_delivery_is_kept_once_and_tells_who_waits_for_it(site: Site) -> None:
    project = await site.project()
    body = b'{"ref": "refs/heads/main"}'
    with site.hints.subscribe("deliveries") as told:
        assert await deliver(site, body, project.webhook_secret) == (202, {"delivery": "d-1", "duplicate": False})
        assert told.is_set()
    assert await deliver(site, body, project.webhook_secret) == (202, {"delivery": "d-1", "duplicate": True})
    (kept,) = (await call(site, "GET", "/projects/shop/deliveries"))["deliveries"]
    assert (kept["delivery"], kept["event"], kept["outcome"], kept["builds"]) == ("d-1", "push", None, [])
    (pending,) = await site.stores.deliveries.pending(10, busy=())
    assert pending.body == body


async def test_a_wrong_signature_and_an_unknown_project_look_alike(site: Site) -> None:
    project = await site.project()
    secret, other = project.webhook_secret, "0" * 64
    answers = [
        await deliver(site, b"{}", other),
        await deliver(site, b"{}", secret, **{"X-Hub-Signature-256": sign(b"{ }", secret)}),
        await deliver(site, b"{}", secret, **{"X-Hub-Signature-256": ""}),
        await deliver(site, b"{}", secret, project="nobody"),
        await deliver(site, b"{}", secret, project="%00"),
    ]
    assert {status for status, _ in answers} == {401}
    assert len({json.dumps(body | {"request_id": ""}) for _, body in answers}) == 1
    assert await site.stores.deliveries.pending(10, busy=()) == []


async def test_a_delivery_without_id_or_event_is_refused(site: Site) -> None:
    project = await site.project()
    for headers in ({"X-GitHub-Delivery": ""}, {"X-GitHub-Event": ""}, {"X-GitHub-Delivery": "d" * 201}):
        status, body = await deliver(site, b"{}", project.webhook_secret, **headers)
        assert (status, body["code"]) == (400, "bad_request")


POLL = Poll(
    runner=str(uuid4()), name="r", incarnation=1, drivers=("docker",), labels=(), slots=2, holding=(uuid4(),), wait=0
)


async def test_runners_speak_msgpack(site: Site) -> None:
    async with site.runner.post("/api/v1/runner/poll", data=msgspec.msgpack.encode(POLL)) as response:
        assert response.status == 200
        assert response.content_type == "application/msgpack"
        assert msgspec.msgpack.decode(await response.read(), type=PollReply).revoked == POLL.holding
    noise = random.Random(1).randbytes(1 << 20)
    report = reported(*[batch(noise, lines=4000, end=len(noise))] * 3)
    async with site.runner.post("/api/v1/runner/report", data=BytesIO(msgspec.msgpack.encode(report))) as response:
        assert response.status == 200, await response.text()
        assert msgspec.msgpack.decode(await response.read(), type=ReportReply).position.step == 3


def batch(text: bytes, **changed: Any) -> LogBatch:
    usual = {"step": 1, "offset": 0, "end": 1, "lines": 1, "frame": zstandard.compress(text), "at": datetime.now(UTC)}
    return LogBatch(**usual | changed)


def reported(*items: Item, incarnation: int = 1) -> Report:
    return Report(build=uuid4(), assignment=uuid4(), runner=POLL.runner, incarnation=incarnation, items=items)


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": ("a\0b",)},
        {"name": ""},
        {"name": "x" * 256},
        {"drivers": ("",)},
        {"problem": "a\0b"},
        {"incarnation": 1 << 63},
        {"incarnation": -1},
        {"slots": 1 << 40},
        {"slots": -1},
        {"wait": float("nan")},
        {"wait": float("inf")},
        {"wait": -1.0},
    ],
    ids=str,
)
async def test_a_poll_out_of_bounds_is_refused(site: Site, changed: dict[str, Any]) -> None:
    body = msgspec.msgpack.encode(msgspec.structs.replace(POLL, **changed))
    async with site.runner.post("/api/v1/runner/poll", data=body) as response:
        assert response.status == 422, await response.text()


NOW = datetime.now(UTC)
LARGE = zstandard.compress(bytes((4 << 20) + 1))
UNSIZED = zstandard.ZstdCompressor(write_content_size=False).compress(b"x\n")


@pytest.mark.parametrize(
    "item",
    [
        batch(b"x\n", offset=-1),
        batch(b"x\n", end=1 << 63),
        batch(b"x\n", lines=0),
        batch(b"x\n", lines=3),
        batch(b"x\n", step=1 << 31),
        batch(b"x\n", step=-1),
        batch(b"x\n", at=NOW.replace(tzinfo=None)),
        batch(b""),
        batch(b"", frame=b""),
        batch(b"", frame=b"no frame at all"),
        batch(b"", frame=bytes((4 << 20) + 1)),
        batch(b"", frame=LARGE),
        batch(b"", frame=UNSIZED),
        ContainerStarted(container="a\0b", driver="docker", at=NOW),
        StepStopped(step=1, outcome=Outcome.FAILED, exit_code=1 << 31, at=NOW),
        JobStopped(outcome=Outcome.ERRORED, reason="a\0b", at=NOW),
    ],
    ids=lambda item: type(item).__name__,
)
async def test_a_report_out_of_bounds_is_refused(site: Site, item: Item) -> None:
    body = BytesIO(msgspec.msgpack.encode(reported(item)))
    async with site.runner.post("/api/v1/runner/report", data=body) as response:
        assert response.status == 422, await response.text()


async def test_a_log_does_not_go_backwards(site: Site) -> None:
    forwards = msgspec.msgpack.encode(reported(batch(b"x\n", offset=0, end=7)))
    backwards = forwards.replace(b"\xa6offset\x00", b"\xa6offset\x08")
    for body, status in ((forwards, 200), (backwards, 422)):
        async with site.runner.post("/api/v1/runner/report", data=body) as response:
            assert response.status == status, await response.text()


async def test_what_is_no_message_of_a_runner_is_refused(site: Site) -> None:
    nameless = msgspec.msgpack.encode(msgspec.structs.replace(POLL, runner="r"))
    for body, status in (
        (b"\xc1", 400),
        (b"", 400),
        (b"\x81\xa1x" + b"\x91" * 100_000, 400),
        (b"\x80", 422),
        (nameless, 422),
    ):
        for path in ("poll", "report"):
            async with site.runner.post(f"/api/v1/runner/{path}", data=body) as response:
                assert response.status == status
