"""What keeps the embedded Postgres from starting is said by name, and nothing is left running or locked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from pathlib import Path

import pytest

from buildsys import postgres_binaries
from buildsys.errors import SetupError
from buildsys.postgres import (
    EmbeddedPostgres,
    PostgresStartFailed,
    PostgresVersionMismatch,
    SocketPathTooLong,
    running_server,
)
from buildsys.postgres_binaries import PostgresMissing, PostgresUserUnavailable
from buildsys.private_files import FileLock, FolderFull, FolderNotPermitted, FolderReadOnly, NotAFolder
from tests.buildsys.small_disk import small_disk


async def refused(folder: Path, kind: type[SetupError], **options: Path | float) -> str:
    """The message with which a start on the folder fails; proves that it leaves neither a process nor a lock."""
    with pytest.raises(kind) as raised:
        await EmbeddedPostgres(folder, durable=False, **options).__aenter__()  # type: ignore[arg-type]
    assert FileLock(folder / "supervisor.lock").holder() is None
    assert FileLock(folder / "owner.lock").holder() is None
    assert running_server(folder) is None
    return str(raised.value)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A folder with a stopped cluster."""
    async with EmbeddedPostgres(tmp_path / "postgres", durable=False):
        pass
    return tmp_path / "postgres"


async def test_another_postgres_major(folder: Path) -> None:
    (folder / "data" / "PG_VERSION").write_text("17\n")
    message = await refused(folder, PostgresVersionMismatch)
    assert "written by Postgres 17" in message
    assert "--database-url" in message


async def test_something_else_where_the_cluster_should_be(folder: Path) -> None:
    (folder / "data" / "PG_VERSION").unlink()
    assert "move it away" in await refused(folder, PostgresStartFailed)


async def test_a_server_that_cannot_start_says_why_in_its_own_words(folder: Path) -> None:
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.write("this is no setting\n")
    assert "syntax error in file" in await refused(folder, PostgresStartFailed)


async def test_the_start_has_a_deadline(tmp_path: Path) -> None:
    assert "within 0.05 s" in await refused(tmp_path / "postgres", PostgresStartFailed, start_limit=0.05)


async def test_a_full_disk_when_the_cluster_is_made(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        await refused(disk / "postgres", FolderFull)


async def test_a_full_disk_when_the_server_starts(tmp_path: Path, folder: Path) -> None:
    with small_disk(tmp_path / "disk", "size=60m") as disk:
        shutil.copytree(folder, disk / "postgres")
        (disk / "postgres" / "run").rmdir()
        with contextlib.suppress(OSError), (disk / "filling").open("wb") as file:
            while True:
                file.write(b"\0" * 4096)
                file.flush()
        await refused(disk / "postgres", FolderFull)


async def test_a_read_only_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "ro") as disk, pytest.raises(FolderReadOnly):
        await EmbeddedPostgres(disk / "postgres").__aenter__()


async def test_a_file_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    await refused(tmp_path / "file" / "postgres", NotAFolder)
    await refused(tmp_path / "file", NotAFolder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
async def test_a_folder_of_someone_else(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 12345, 12345)
    assert "belongs to user 12345" in await refused(tmp_path / "theirs", FolderNotPermitted)


async def test_a_long_path_puts_the_socket_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40) / "postgres"
    async with EmbeddedPostgres(folder, runtime_dir=tmp_path / "run", durable=False) as postgres:
        assert str(tmp_path / "run") in postgres.dsn
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


async def test_no_place_short_enough_for_the_socket(tmp_path: Path) -> None:
    long = tmp_path / ("long" * 40)
    assert "107 bytes" in await refused(long, SocketPathTooLong, runtime_dir=long)


async def test_a_socket_folder_that_someone_laid_out_for_us(tmp_path: Path) -> None:
    (tmp_path / "trap").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "trap")
    message = await refused(tmp_path / ("long" * 40), FolderNotPermitted, runtime_dir=tmp_path / "run")
    assert "symbolic link" in message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
async def test_root_that_can_become_no_other_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = await refused(tmp_path / "postgres", PostgresUserUnavailable)
    assert "unshare" in message
    assert "setpriv" in message


async def test_no_binaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_binaries, "PACKAGE", "no_such_package")
    assert "pip install" in await refused(tmp_path / "postgres", PostgresMissing)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user that does not exist")
async def test_a_user_without_a_name(tmp_path: Path) -> None:
    source = (
        "import asyncio, pathlib, sys\n"
        "from buildsys.postgres import EmbeddedPostgres, UserUnknown\n"
        "async def start():\n"
        "    try:\n"
        "        await EmbeddedPostgres(pathlib.Path(sys.argv[1]), durable=False).__aenter__()\n"
        "    except UserUnknown as error:\n"
        "        print(error)\n"
        "asyncio.run(start())\n"
    )
    become = "setpriv --reuid=54321 --regid=54321 --clear-groups --inh-caps=+dac_override --ambient-caps=+dac_override"
    tmp_path.chmod(0o777)
    done = await asyncio.create_subprocess_exec(
        *become.split(), sys.executable, "-c", source, str(tmp_path / "postgres"), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await done.communicate()
    assert b"User 54321 has no entry in /etc/passwd" in printed
    assert b"--database-url" in printed
