"""The data folder is made once, whole and private, has one user at a time, and says by name what is wrong with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildsys.data_folder import (
    DataFileDamaged,
    DataFolder,
    DataFolderForeign,
    DataFolderInUse,
    DataFolderTooNew,
    SecretKeyLost,
    SecretKeyMissing,
    holder_of,
)
from buildsys.private_files import (
    FileExposed,
    FolderFull,
    FolderNotPermitted,
    FolderReadOnly,
    NotAFolder,
    write_private,
)
from tests.buildsys.small_disk import small_disk

HOLDER = """
import sys
from pathlib import Path
from buildsys.data_folder import DataFolder
with DataFolder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_what_it_holds_stays_the_same_and_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "data"
    with DataFolder(path) as folder:
        first = (folder.installation, folder.secret_key, folder.admin_token)
        part = folder.part("blobs")
    with DataFolder(path) as folder:
        assert (folder.installation, folder.secret_key, folder.admin_token) == first
    assert len(set(first)) == 3
    assert len(first[1]) == 32
    assert {entry.name for entry in path.iterdir()} == {
        *("lock", "format", "installation", "secret.key", "admin.token", "blobs")
    }
    assert all(entry.stat().st_mode & 0o777 == 0o600 for entry in path.iterdir() if entry.is_file())
    assert path.stat().st_mode & 0o777 == part.stat().st_mode & 0o777 == 0o700


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    with DataFolder(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_second_process_is_refused_until_the_first_is_gone_however_it_went(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(DataFolderInUse, match=rf"process {holder.pid}.*--data-dir") as raised:
        DataFolder(tmp_path).__enter__()
    assert raised.value.pid == holder.pid == holder_of(tmp_path)
    holder.kill()
    holder.communicate()
    assert holder_of(tmp_path) is None
    with DataFolder(tmp_path):
        assert holder_of(tmp_path) == os.getpid()


def test_a_refused_start_leaves_the_folder_free(tmp_path: Path) -> None:
    with DataFolder(tmp_path):
        pass
    (tmp_path / "format").write_text("2\n")
    with pytest.raises(DataFolderTooNew, match="has format 2"):
        DataFolder(tmp_path).__enter__()
    assert holder_of(tmp_path) is None


def test_a_folder_with_other_things_in_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(DataFolderForeign, match="neither empty nor made by buildsys"):
        DataFolder(tmp_path).__enter__()
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_start_that_was_killed_in_its_first_moment(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1\n")
    (tmp_path / ".format.0a1b2c3d").write_text("")
    with DataFolder(tmp_path) as folder:
        assert folder.installation


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("format", b"one"),
        ("installation", b"not-a-uuid\n"),
        ("secret.key", b"short"),
        ("admin.token", b"\n"),
        ("admin.token", b"\xff" * 40),
    ],
)
def test_a_damaged_file(tmp_path: Path, name: str, content: bytes) -> None:
    with DataFolder(tmp_path):
        pass
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataFileDamaged, match=name):
        DataFolder(tmp_path).__enter__()
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o604])
def test_a_secret_that_others_could_read_or_change(tmp_path: Path, mode: int) -> None:
    with DataFolder(tmp_path):
        pass
    (tmp_path / "secret.key").chmod(mode)
    with pytest.raises(FileExposed, match=f"mode {mode:04o}"):
        DataFolder(tmp_path).__enter__()


def test_a_secret_key_kept_outside(tmp_path: Path) -> None:
    key = tmp_path / "key"
    with pytest.raises(SecretKeyMissing, match="BUILDSYS_SECRET_KEY_FILE"):
        DataFolder(tmp_path / "data", secret_key_file=key).__enter__()
    write_private(key, b"k" * 32)
    with DataFolder(tmp_path / "data", secret_key_file=key) as folder:
        assert folder.secret_key == b"k" * 32
    assert not (tmp_path / "data" / "secret.key").exists()


def test_a_lost_secret_key_is_not_replaced(tmp_path: Path) -> None:
    with DataFolder(tmp_path) as folder:
        key = folder.secret_key
    (tmp_path / "secret.key").unlink()
    with pytest.raises(SecretKeyLost, match=r"from a backup.*--secret-key-file.*--data-dir"):
        DataFolder(tmp_path).__enter__()
    assert not (tmp_path / "secret.key").exists()
    write_private(tmp_path / "secret.key", key)
    with DataFolder(tmp_path) as folder:
        assert folder.secret_key == key


def test_a_first_start_without_the_key_it_was_promised_leaves_the_choice(tmp_path: Path) -> None:
    with pytest.raises(SecretKeyMissing):
        DataFolder(tmp_path / "data", secret_key_file=tmp_path / "key").__enter__()
    with DataFolder(tmp_path / "data") as folder:
        assert len(folder.secret_key) == 32


def test_a_removed_token_is_replaced_and_said_to_be_new(tmp_path: Path) -> None:
    with DataFolder(tmp_path) as folder:
        assert folder.has_new_token
        first = folder.admin_token
    with DataFolder(tmp_path) as folder:
        assert not folder.has_new_token
    (tmp_path / "admin.token").unlink()
    with DataFolder(tmp_path) as folder:
        assert folder.has_new_token
        assert folder.admin_token != first


def test_to_inspect_makes_and_locks_nothing(tmp_path: Path) -> None:
    DataFolder(tmp_path / "new").inspect()
    DataFolder(tmp_path).inspect()
    assert list(tmp_path.iterdir()) == []
    with DataFolder(tmp_path):
        (tmp_path / "admin.token").unlink()
        DataFolder(tmp_path).inspect()
    assert not (tmp_path / "admin.token").exists()


def test_a_file_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(NotAFolder, match="--data-dir"):
            DataFolder(path).__enter__()


def test_a_link_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(FolderNotPermitted, match="symbolic link"):
        DataFolder(tmp_path / "link").__enter__()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_someone_else(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(FolderNotPermitted, match="belongs to user 12345"):
        DataFolder(tmp_path).__enter__()


def test_a_read_only_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "ro") as disk, pytest.raises(FolderReadOnly, match="read-only"):
        DataFolder(disk / "data").__enter__()


def test_a_full_disk_leaves_no_half_a_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=48k") as disk:
        (disk / "filling").write_bytes(b"\0" * (36 << 10))
        (disk / "data").mkdir()
        with pytest.raises(FolderFull, match="free some"):
            DataFolder(disk / "data").__enter__()
        left = [entry for entry in (disk / "data").iterdir() if entry.name != "lock"]
        assert all(entry.read_bytes() and not entry.name.startswith(".") for entry in left)
        (disk / "filling").unlink()
        with DataFolder(disk / "data") as folder:
            assert len(folder.secret_key) == 32
