"""Nothing that strangers send is believed, run, or told what it should not know."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import git_server
import outside
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from drivers import DRIVERS, system_on
from system import Repository, System, free_port, until

import buildsys.app
from buildsys.app import App
from buildsys.config import Config
from buildsys.postgres import running_server

SIMPLE = "on: push\njobs: {a: {runs-on: linux, steps: [{run: echo done}]}}\n"


async def deliver(system: System, project: str, *, secret: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to a signed delivery; without what is of the one request alone."""
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-Hub-Signature-256": signature,
        "Content-Type": "application/json",
    }
    async with aiohttp.ClientSession(system.url) as session:
        async with session.post(f"/hooks/github/{project}", data=body, headers=headers) as response:
            answer = await response.read()
            request = response.headers["X-Request-ID"]
            shown = {name: text for name, text in response.headers.items() if name not in ("X-Request-ID", "Date")}
            return response.status, shown, answer.replace(request.encode(), b"REQUEST")


class TestDeliveries:
    async def test_nobody_learns_which_projects_there_are(self, system: System, repository: Repository) -> None:
        secret = await system.add_project("demo", str(repository.path))
        body = json.dumps({"ref": "refs/heads/main", "after": repository.workflow(SIMPLE)}).encode()
        wrong = await deliver(system, "demo", secret=secret + "x", body=body)
        unknown = await deliver(system, "none", secret=secret, body=body)
        impossible = await deliver(system, "%2e%2e%20'", secret=secret, body=body)
        assert wrong[0] == 401
        assert wrong == unknown == impossible
        assert (await system.call("GET", "/projects/demo/deliveries"))["deliveries"] == []

    async def test_a_changed_body_is_refused(self, system: System, repository: Repository) -> None:
        secret = await system.add_project("demo", str(repository.path))
        body = b'{"ref": "refs/heads/main"}'
        signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-GitHub-Event": "push", "X-GitHub-Delivery": "1", "X-Hub-Signature-256": signature}
        async with aiohttp.ClientSession(system.url) as session:
            for sent, expected in ((body + b" ", 401), (body, 202)):
                async with session.post("/hooks/github/demo", data=sent, headers=headers) as response:
                    assert response.status == expected

    async def test_a_replayed_delivery_builds_once(self, system: System, repository: Repository) -> None:
        secret = await system.add_project("demo", str(repository.path))
        commit = repository.workflow(SIMPLE)
        pushes = (system.push("demo", secret, commit=commit, delivery="the-same") for _ in range(5))
        assert await asyncio.gather(*pushes) == [202] * 5
        build = await system.only_build("demo")
        assert (await system.stopped(build))["outcome"] == "success"
        assert await system.push("demo", secret, commit=commit, delivery="the-same") == 202
        (kept,) = (await system.call("GET", "/projects/demo/deliveries"))["deliveries"]
        assert kept["builds"] == [build]
        assert len(await system.builds("demo")) == 1


class TestNames:
    """What a commit calls itself and its parts is text, to every shell on its way."""

    @pytest.fixture(params=DRIVERS)
    async def system(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
        async with system_on(tmp_path / "data", request.param) as system:
            yield system

    async def test_they_are_shown_and_never_run(self, system: System, repository: Repository, tmp_path: Path) -> None:
        mark = Path("/var/tmp") / f"buildsys-test-{uuid.uuid4().hex}"
        evil = f"$(touch${{IFS}}{mark})`touch${{IFS}}{mark}`;'\"&|>"
        spoken = f"{evil}\n{evil} \\ \t%s"
        step = {
            "name": spoken,
            "env": {"EVIL": spoken},
            "run": f'printf \'%s|\' "$EVIL" "$BUILDSYS_BRANCH" "$GITHUB_REF_NAME"; ls -A; ls {mark}* || true',
        }
        workflow = json.dumps(
            {"name": spoken, "on": "push", "jobs": {"a": {"runs-on": "linux", "name": spoken, "steps": [step]}}}
        )
        commit = repository.commit(
            {
                f".buildsys/{evil.replace('/', ':')}\nx.yml": workflow,
                f"{evil.replace('/', ':')}\n-rf": "x",
                "--upload-pack=x": "x",
            },
            branch=evil,
        )
        secret = await system.add_project("demo", str(repository.path))
        assert await system.push("demo", secret, commit=commit, branch=evil, title=spoken) == 202
        stopped = await system.stopped(await system.only_build("demo"))
        text = (await system.text(stopped["id"], step=1)).decode()

        assert (stopped["outcome"], stopped["branch"]) == ("success", evil)
        assert stopped["title"] == evil
        assert stopped["jobs"][0]["steps"][1]["name"].startswith(f"{evil} $(touch")
        assert text.startswith(f"{spoken}|{evil}|{evil}|")
        assert "--upload-pack=x" in text
        assert f"{mark}\n" not in text, "something was run in the container"
        assert not mark.exists(), "something was run on this host"

    @pytest.mark.parametrize("title", ["a\0b", "\u202egnp.exe", "\x1b]0;x\x07", "x" * 100_000], ids=repr)
    async def test_no_title_keeps_a_push_from_being_settled(
        self, system: System, repository: Repository, title: str
    ) -> None:
        secret = await system.add_project("demo", str(repository.path))
        assert await system.push("demo", secret, commit=repository.workflow(SIMPLE), title=title) == 202
        assert (await system.stopped(await system.only_build("demo")))["outcome"] == "success"

    async def test_a_workflow_that_cannot_be_stored_is_refused_with_its_reason(
        self, system: System, repository: Repository
    ) -> None:
        secret = await system.add_project("demo", str(repository.path))
        assert await system.push("demo", secret, commit=repository.workflow(_workflow("echo a\0b"))) == 202

        stopped = await system.stopped(await system.only_build("demo"))
        assert stopped["outcome"] == "failed"
        assert ".buildsys.yml" in stopped["reason"]


class TestRoutes:
    OPEN = (
        ("GET", "/"),
        ("GET", "/ui/{path}"),
        ("GET", "/healthz"),
        ("HEAD", "/healthz"),
        ("GET", "/readyz"),
        ("HEAD", "/readyz"),
    )
    """Who calls these is nobody's business."""

    OWN_PROOF = (("POST", "/login"), ("POST", "/hooks/github/{project}"), ("POST", "/_actors/call"))
    """These take a proof of their own: a token in the body, a signature, the cluster's key."""

    RUNNERS = (("POST", "/api/v1/runner/poll"), ("POST", "/api/v1/runner/report"))

    @pytest.fixture
    async def app(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[App]:
        """The system in this process, so that its own table of routes can be read."""
        answer = buildsys.app._answer

        async def kept(stack: Any, application: web.Application, listener: Any) -> None:
            self.table = [
                (route.method, route.resource.canonical)
                for route in application.router.routes()
                if route.resource is not None
            ]
            await answer(stack, application, listener)

        monkeypatch.setattr(buildsys.app, "_answer", kept)
        listen = f"127.0.0.1:{free_port()}"
        config = Config.load(
            {"data_dir": tmp_path / "data", "listen": listen, "driver": "process", "roles": "api,orchestrator"}, {}
        )
        async with App(config) as app:
            yield app

    async def test_none_but_the_named_answers_a_stranger(self, app: App) -> None:
        assert {*self.OPEN, *self.OWN_PROOF, *self.RUNNERS} < set(self.table)
        for authorization in ("", "Bearer ", "Bearer bst_wrong", f"Basic {app.admin_token}", "Bearer " + "x" * 5000):
            headers = {"Authorization": authorization} if authorization else {}
            answers = await self._walk(app, headers)
            assert {route: 401 for route in answers if route not in self.OPEN and route[1] != "/login"} == {
                route: status for route, status in answers.items() if route not in self.OPEN and route[1] != "/login"
            }

    async def test_a_runners_token_opens_nothing_but_the_runners_routes(self, app: App) -> None:
        async with aiohttp.ClientSession(app.url) as session:
            admin = {"Authorization": f"Bearer {app.admin_token}"}
            made = {"name": "runner", "role": "runner"}
            async with session.post("/api/v1/tokens", json=made, headers=admin) as response:
                token = (await response.json())["token"]
        answers = await self._walk(app, {"Authorization": f"Bearer {token}"})
        for route, status in answers.items():
            if route in self.RUNNERS:
                assert status == 400, f"{route} is the runner's, and the body nonsense"
            elif route not in (*self.OPEN, *self.OWN_PROOF):
                assert status == 403, route

    async def _walk(self, app: App, headers: dict[str, str]) -> dict[tuple[str, str], int]:
        """What each route answers to a request with an empty body."""
        answers = {}
        async with aiohttp.ClientSession(app.url) as session:
            for method, path in self.table:
                place = path.replace("{project}", "demo").replace("{path}", "app.js").replace("{name}", "KEY")
                place = place.replace("{build}", str(uuid.uuid4())).replace("{token}", str(uuid.uuid4()))
                async with session.request(method, place, headers=headers) as response:
                    answers[method, path] = response.status
        return answers


class TestSecrets:
    """Where the secrets of an installation and its projects are not."""

    PASSWORD = f"pass-{uuid.uuid4().hex}"

    @pytest.fixture(params=DRIVERS)
    async def system(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
        async with system_on(tmp_path / "data", request.param, BUILDSYS_LOG_LEVEL="debug") as system:
            yield system

    async def test_they_are_in_none_of_the_places_where_others_look(
        self, system: System, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        half = len(self.PASSWORD) // 2
        print_it = f"printf '%s%s\\n' '{self.PASSWORD[:half]}' '{self.PASSWORD[half:]}'"
        look = "env; git config --list --show-origin; find .git -type f -exec cat {} +"
        script = f"{look}; {print_it}; echo up; while :; do sleep 0.1; done"
        source = git_server.Repository(tmp_path / "served" / "demo")
        commit = source.commit({".buildsys.yml": _workflow(script)})

        async with _watching_server(tmp_path / "served", self.PASSWORD) as server:
            credential = {"username": "builder", "password": self.PASSWORD}
            webhook = await system.add_project("demo", f"{server.url}/demo/.git", credential=credential)
            runner = (await system.call("POST", "/tokens", {"name": "runner", "role": "runner"}))["token"]
            secrets = {"password": self.PASSWORD, "webhook": webhook, "administrator": system.token, "runner": runner}
            assert await system.push("demo", webhook, commit=commit) == 202
            build = await system.only_build("demo")

            async def up() -> bool:
                return b"up\n" in await system.text(build, step=1)

            await until(up)
            assert server.fetches, "git was seen at its work"
            assert server.leaks == []
            places = {"arguments and environments": "\n".join(outside.environments_and_arguments())}
            if "docker" in request.node.name:
                container = outside.containers(build)
                places["docker inspect"] = subprocess.run(
                    ["docker", "inspect", *container], check=True, capture_output=True, text=True
                ).stdout
            await system.call("POST", f"/builds/{build}/cancel")
            await system.stopped(build)

        text = (await system.text(build)).decode("latin-1")
        assert "***\n" in text, "what a step prints of a secret is masked"
        places["the build's log"] = text
        places["the build's events"] = json.dumps(await system.call("GET", f"/builds/{build}/logs"))
        places["the API"] = "".join(
            [
                json.dumps(await system.call("GET", path))
                for path in ("/projects", "/projects/demo", "/builds", "/tokens")
            ]
        )
        places["the server's log"] = (tmp_path / "data.log").read_text()
        places["the database"] = await _dump(system)
        await system.stop()
        installation = (system.folder / "installation").read_text().strip()
        places |= _files(system.folder, *Path("/var/tmp").glob(f"buildsys-*-{installation}"))
        for place, content in places.items():
            found = [name for name, secret in secrets.items() if secret in content]
            assert found == (["administrator"] if place == str(system.folder / "admin.token") else []), place


class _Watcher(git_server.GitServer):
    """A server of git that looks, while a client waits for its answer, at what this machine shows of everybody."""

    leaks: list[str]
    fetches: int

    async def serve(self, request: web.Request) -> web.StreamResponse:
        for shown in outside.environments_and_arguments():
            if "git" in shown and self.url in shown:
                self.fetches += 1
            if self._password is not None and self._password in shown:
                self.leaks.append(shown)
        return await super().serve(request)


class _watching_server:
    """A running `_Watcher` over the repositories below `root`."""

    def __init__(self, root: Path, password: str) -> None:
        self._watcher = _Watcher(root, password=password)
        self._watcher.leaks, self._watcher.fetches = [], 0

    async def __aenter__(self) -> _Watcher:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._watcher.serve)
        self._server = TestServer(application)
        await self._server.start_server()
        self._watcher.url = str(self._server.make_url("")).rstrip("/")
        return self._watcher

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()


def _workflow(script: str) -> str:
    return json.dumps({"on": "push", "jobs": {"a": {"runs-on": "linux", "steps": [{"run": script}]}}})


async def _dump(system: System) -> str:
    """Every row of every table, as text; bytes as they are, decoded."""
    server = running_server(system.folder / "postgres")
    assert server is not None
    connection = await asyncpg.connect(server.format("buildsys"))
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables "
            "WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'"
        )
        assert len(tables) > 10
        rows = [row for table in tables for row in await connection.fetch(f"SELECT * FROM {table['name']}")]
    finally:
        await connection.close()
    assert rows
    return "\n".join(
        value.decode("latin-1") if isinstance(value, bytes) else str(value) for row in rows for value in row.values()
    )


def _files(*folders: Path) -> dict[str, str]:
    """Every file below the folders, Postgres's own ones among them."""
    return {
        str(file): file.read_bytes().decode("latin-1")
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink()
    }
