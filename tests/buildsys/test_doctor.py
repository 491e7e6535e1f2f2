"""The doctor finds each ailment by trying, and says the way out of it."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from actors.database import Database
from actors.migrations import migrate
from buildsys import doctor
from buildsys.config import Config
from buildsys.data_folder import DataFolder
from buildsys.doctor import Check, examine
from buildsys.postgres import EmbeddedPostgres
from tests.buildsys.small_disk import small_disk


async def found(config: Config) -> dict[str, Check]:
    checks = await examine(config)
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.way_out for check in checks if check.status == "fail")
    return {check.name: check for check in checks}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configured(path: Path, **settings: object) -> Config:
    return Config.load({"data_dir": path, "listen": f"127.0.0.1:{free_port()}"} | settings, {})


async def test_a_sound_machine_before_the_first_start(tmp_path: Path) -> None:
    checks = await found(configured(tmp_path / "new", driver="auto"))
    assert list(checks) == [
        *("python", "platform", "data folder", "disk space", "postgres", "postgres socket"),
        *("port", "git", "docker", "bubblewrap"),
    ]
    for name in ("python", "platform", "data folder", "postgres", "postgres socket", "port", "git"):
        assert checks[name].status == "ok", checks[name]
    assert "can be made" in checks["data folder"].detail
    assert "18." in checks["postgres"].detail
    assert not (tmp_path / "new").exists()


async def test_beside_a_running_installation(tmp_path: Path) -> None:
    config = configured(tmp_path / "data")
    with DataFolder(config.data_dir) as folder, socket.socket() as server:
        server.bind((config.host, config.port))
        server.listen()
        async with EmbeddedPostgres(folder.part("postgres"), durable=False) as postgres:
            checks = await found(config)
            assert f"in use by process {os.getpid()}" in checks["data folder"].detail
            assert checks["port"].status == "ok"
            assert checks["clock"].status == "ok"
            assert "migrations to apply" in checks["database"].detail
            async with Database(postgres.dsn) as database:
                await migrate(database, ["actors", "buildsys"])
            assert (await found(config))["database"].detail.endswith("its tables are up to date")
            connection = await asyncpg.connect(postgres.dsn)
            await connection.execute("INSERT INTO schema_migrations VALUES ('actors', 9999, 'later', '')")
            await connection.close()
            check = (await found(config))["database"]
            assert (check.status, check.detail) == ("fail", "its tables are from a newer release")


@pytest.mark.parametrize(
    ("system", "machine", "libc", "status"),
    [
        ("Linux", "x86_64", "glibc", "ok"),
        ("Linux", "aarch64", "glibc", "ok"),
        ("Linux", "x86_64", "", "fail"),
        ("Linux", "riscv64", "glibc", "fail"),
        ("Darwin", "arm64", "", "fail"),
    ],
)
def test_platforms(system: str, machine: str, libc: str, status: str) -> None:
    assert doctor.check_platform(system, machine, libc).status == status


def test_pythons() -> None:
    assert doctor.check_python((3, 10, 14)).status == "fail"
    assert doctor.check_python((3, 11, 0)).status == "ok"


async def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        check = (await found(configured(path)))["data folder"]
        assert (check.status, check.way_out) == ("fail", "choose another --data-dir.")


@pytest.mark.parametrize(
    ("name", "content", "mode", "detail", "way_out"),
    [
        ("format", b"2\n", 0o600, "has format 2", "start the newer release"),
        ("format", None, 0o600, "neither empty nor made by buildsys", "--data-dir"),
        ("installation", b"?\n", 0o600, "a UUID was expected", "restore it from a backup"),
        ("secret.key", b"k" * 32, 0o644, "has mode 0644", "chmod 600"),
        ("secret.key", b"short", 0o600, "32 bytes was expected", "restore it from a backup"),
        ("secret.key", None, 0o600, "secret.key is gone", "put it back from a backup"),
        ("admin.token", b"t" * 40, 0o644, "has mode 0644", "chmod 600"),
    ],
)
async def test_a_folder_that_a_start_would_refuse(
    tmp_path: Path, name: str, content: bytes | None, mode: int, detail: str, way_out: str
) -> None:
    with DataFolder(tmp_path):
        pass
    assert (await found(configured(tmp_path)))["data folder"].status == "ok"
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(mode)
    before = {entry.name: entry.stat().st_mtime_ns for entry in tmp_path.iterdir()}
    check = (await found(configured(tmp_path)))["data folder"]
    assert check.status == "fail"
    assert detail in check.detail
    assert way_out in check.way_out
    assert {entry.name: entry.stat().st_mtime_ns for entry in tmp_path.iterdir()} == before


async def test_a_key_outside_that_is_not_there(tmp_path: Path) -> None:
    check = (await found(configured(tmp_path / "new", secret_key_file=tmp_path / "key")))["data folder"]
    assert check.status == "fail"
    assert str(tmp_path / "key") in check.detail


async def test_a_read_only_and_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "locked", "ro") as disk:
        assert "read-only" in (await found(configured(disk / "data")))["data folder"].detail
    with small_disk(tmp_path / "full") as disk:
        checks = await found(configured(disk))
        assert (checks["data folder"].status, checks["disk space"].status) == ("ok", "fail")
        (disk / "filling").write_bytes(b"\0" * (16 << 20))
        assert "No space is left" in (await found(configured(disk / "data")))["data folder"].detail


async def test_a_cluster_of_another_postgres(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text("16\n")
    check = (await found(configured(tmp_path)))["postgres"]
    assert check.status == "fail"
    assert "written by Postgres 16" in check.detail
    assert "--database-url" in check.way_out


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        check = (await found(configured(tmp_path, listen=f"127.0.0.1:{server.getsockname()[1]}")))["port"]
    assert check.status == "fail"
    assert "Address already in use" in check.detail


async def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    url = f"postgresql://ci:hush@127.0.0.1:{free_port()}/ci"
    checks = await found(configured(tmp_path, database_url=url))
    assert checks["database"].status == "fail"
    assert checks["clock"].status == "warn"
    assert not any("hush" in check.detail for check in checks.values())


async def test_a_runner_apart_looks_for_its_server_and_needs_no_database(tmp_path: Path) -> None:
    async with TestServer(web.Application(), host="127.0.0.1") as server:
        url = str(server.make_url("/")).rstrip("/")
        config = configured(tmp_path, roles="runner", server_url=url, token="t")
        checks = await found(config)
        assert checks["server"].detail == f"{url} answers, status 404"
        assert not checks.keys() & {"postgres", "database", "port"}
    check = (await found(config))["server"]
    assert check.status == "fail"
    assert "--server-url" in check.way_out


async def test_a_database_that_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LIMIT", 0.4)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://ci@127.0.0.1:{silent.getsockname()[1]}/ci"
        check = await asyncio.wait_for(doctor.check_database(url), 5)
    assert (check.status, check.detail) == ("fail", "it cannot be reached: no answer")


async def test_a_database_that_is_something_else(tmp_path: Path) -> None:
    """It breaks off in the middle of what a Postgres says first."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"R\0\0\0\x06\0\0")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"postgresql://ci@127.0.0.1:{server.sockets[0].getsockname()[1]}/ci?sslmode=disable"
        checks = await found(configured(tmp_path, database_url=url))
    assert (checks["database"].status, checks["clock"].status) == ("fail", "warn")


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("{}/blobs", "ok", "takes objects"),
        ("{}/file/blobs", "fail", "one of them is a file"),
        ("s3://bucket?endpoint=http://127.0.0.1:1", "fail", "does not answer"),
        ("s3://key:secret@bucket", "fail", "AWS_ACCESS_KEY_ID"),
    ],
)
async def test_blob_stores(tmp_path: Path, url: str, status: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (tmp_path / "file").touch()
    checks = await found(configured(tmp_path / "data", blobs=url.format(tmp_path)))
    assert (checks["blobs"].status, said in checks["blobs"].detail) == (status, True), checks["blobs"]
    assert not (tmp_path / "blobs").exists()


def test_clocks() -> None:
    assert doctor.judge_clock(skew=0.1, uncertainty=0.0).status == "ok"
    assert doctor.judge_clock(skew=-3.0, uncertainty=0.5).status == "warn"
    assert doctor.judge_clock(skew=3.0, uncertainty=2.0).status == "ok"
    assert "3.000 s behind" in doctor.judge_clock(skew=-3.0, uncertainty=0.5).detail


@pytest.mark.parametrize(("version", "status"), [("git version 2.17.1", "fail"), ("git version 2.51.0.rc1", "ok")])
async def test_gits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, status: str) -> None:
    program = tmp_path / "git"
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert (await doctor.check_git()).status == status


async def test_programs_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (await doctor.check_git()).way_out == "Install git."
    sandbox = await doctor.check_bubblewrap()
    assert sandbox.status == "warn"
    assert "bubblewrap" in sandbox.way_out


async def test_no_docker_engine(tmp_path: Path) -> None:
    host = f"unix:///run/{uuid4().hex}.sock"
    check = await doctor.check_docker(host, needed=True)
    assert check.status == "fail"
    assert check.detail == f"no Docker engine at {host.removeprefix('unix://')}"
    assert "install one" in check.way_out
    assert (await doctor.check_docker(host, needed=False)).status == "warn"
    checks = await found(configured(tmp_path / "data", driver="process", docker_host=host))
    assert "docker" not in checks


async def test_a_docker_engine_we_may_not_speak_to(tmp_path: Path) -> None:
    """As another user: root may speak to every socket."""
    if os.geteuid() != 0:
        pytest.skip("root only")
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0o600)
        os.seteuid(65534)
        try:
            check = await doctor.check_docker(f"unix://{path}", needed=True)
        finally:
            os.seteuid(0)
    assert check.status == "fail"
    assert "group `docker`" in check.way_out


@pytest.mark.docker
async def test_a_docker_engine() -> None:
    check = await doctor.check_docker(None, needed=True)
    if check.status != "ok" and "BUILDSYS_TEST_REQUIRE_DOCKER" not in os.environ:
        pytest.skip(check.detail)
    assert "engine" in check.detail
    assert "cgroup v" in check.detail
