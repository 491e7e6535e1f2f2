"""`hashFiles` against what GitHub documents of it and of its patterns; each case names its sentence."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path, PurePosixPath

import pytest

from buildsys.core.expressions import ExpressionError
from buildsys.runner import hash_files
from buildsys.runner.hash_files import FileHasher

SEEN_AT = PurePosixPath("/buildsys/workspace")

FILES = (
    *("package.json", "package-lock.json", ".hidden", "lib/a.rb", "lib/b.rb", "lib/foo/c.rb", "lib/foo/.d.rb"),
    *("src/package-lock.json", "src/main.py", "src/Main.py", "web/node_modules/x/package-lock.json", "web/a[1].txt"),
    *("web/x y.txt", "z/last.txt", "b/first.txt"),
)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    workspace = tmp_path / "workspace"
    for name in FILES:
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_text(f"content of {name}")
    return workspace


def digest(workspace: Path, *names: str) -> str:
    """The SHA-256 of the files' SHA-256s."""
    if not names:
        return ""
    digests = (hashlib.sha256((workspace / name).read_bytes()).digest() for name in names)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def hashed(workspace: Path, *patterns: str) -> str:
    return FileHasher(folder=workspace, seen_at=SEEN_AT).hash(patterns)


PATTERNS = [
    ("a path is relative to the workspace", ["package.json"], ["package.json"]),
    ("no file that matches: an empty text", ["*.toml"], []),
    (
        "** are any folders, or none",
        ["**/package-lock.json"],
        ["package-lock.json", "src/package-lock.json", "web/node_modules/x/package-lock.json"],
    ),
    ("several patterns", ["package.json", "lib/a.rb"], ["package.json", "lib/a.rb"]),
    ("files are taken by where their patterns start", ["z/last.txt", "b/first.txt"], ["z/last.txt", "b/first.txt"]),
    ("a file counts once", ["lib/a.rb", "lib/*.rb", "lib/a.rb"], ["lib/a.rb", "lib/b.rb"]),
    ("! leaves out", ["lib/*.rb", "!lib/b.rb"], ["lib/a.rb"]),
    (
        "! leaves out a folder and all in it",
        ["**/package-lock.json", "!web"],
        ["package-lock.json", "src/package-lock.json"],
    ),
    ("! with **", ["**/package-lock.json", "!**/node_modules/**"], ["package-lock.json", "src/package-lock.json"]),
    ("a later pattern brings back", ["lib/**", "!lib/foo", "lib/foo/c.rb"], ["lib/a.rb", "lib/b.rb", "lib/foo/c.rb"]),
    ("only ! matches nothing", ["!lib/a.rb"], []),
    ("two ! are none", ["!!lib/a.rb"], ["lib/a.rb"]),
    ("a folder means all in it", ["lib"], ["lib/a.rb", "lib/b.rb", "lib/foo/.d.rb", "lib/foo/c.rb"]),
    ("a folder with a slash", ["lib/foo/"], ["lib/foo/.d.rb", "lib/foo/c.rb"]),
    ("a slash at the end means no file", ["package.json/"], []),
    ("* stays in a folder", ["lib/*.rb"], ["lib/a.rb", "lib/b.rb"]),
    ("* fits a folder's name, and so all in it", ["l*/f*"], ["lib/foo/.d.rb", "lib/foo/c.rb"]),
    ("a name with a dot in front is fitted by *", [".*", "*hidden"], [".hidden"]),
    ("? is one character", ["lib/?.rb"], ["lib/a.rb", "lib/b.rb"]),
    ("[] is one of its characters", ["lib/[b-z].rb"], ["lib/b.rb"]),
    ("[!] is none of its characters", ["lib/[!b].rb"], ["lib/a.rb"]),
    ("[^] is the same", ["lib/[^b].rb"], ["lib/a.rb"]),
    ("a backslash takes the meaning away", [r"web/a\[1\].txt"], ["web/a[1].txt"]),
    ("so do brackets", ["web/a[[]1[]].txt"], ["web/a[1].txt"]),
    ("a [ that is never closed is itself", ["web/a[1].txt["], []),
    ("case counts on Linux", ["src/main.py"], ["src/main.py"]),
    ("names in the order of their bytes", ["src/*.py"], ["src/Main.py", "src/main.py"]),
    ("spaces are part of a name", ["web/x y.txt"], ["web/x y.txt"]),
    ("spaces around a pattern are not", ["  package.json  "], ["package.json"]),
    (
        "a text of several lines is several patterns",
        ["package.json\n# a comment\n\nlib/a.rb\n"],
        ["package.json", "lib/a.rb"],
    ),
    ("./ is the workspace", ["./package.json"], ["package.json"]),
    ("an absolute path within the workspace", ["/buildsys/workspace/package.json"], ["package.json"]),
    ("an absolute path outside fits nothing", ["/etc/passwd", "/buildsys/workspacex/y"], []),
    ("braces mean nothing", ["{package,x}.json"], []),
    ("** within a name is *", ["lib/a**.rb"], ["lib/a.rb"]),
    (
        "a place within another is looked at once",
        ["lib/foo/c.rb", "lib/**"],
        ["lib/a.rb", "lib/b.rb", "lib/foo/.d.rb", "lib/foo/c.rb"],
    ),
    (
        "folders are gone through where they stand among files",
        ["web/**"],
        ["web/a[1].txt", "web/node_modules/x/package-lock.json", "web/x y.txt"],
    ),
]


@pytest.mark.parametrize(("sentence", "patterns", "names"), PATTERNS, ids=[case[0] for case in PATTERNS])
def test_which_files(workspace: Path, sentence: str, patterns: list[str], names: list[str]) -> None:
    assert hashed(workspace, *patterns) == digest(workspace, *names)


def test_everything_is_everything(workspace: Path) -> None:
    everything = sorted(FILES, key=lambda name: [os.fsencode(part) for part in name.split("/")])
    assert hashed(workspace, "**") == hashed(workspace, "*") == digest(workspace, *everything)


@pytest.mark.parametrize("pattern", ["../x", "a/../../x", "a/./b", "**/.."])
def test_patterns_do_not_leave_the_workspace(workspace: Path, pattern: str) -> None:
    with pytest.raises(ExpressionError, match=r"no \. and no \.\."):
        hashed(workspace, pattern)


def test_a_link_counts_as_the_file_it_leads_to_within_the_workspace(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (workspace / "in").symlink_to("lib/a.rb")
    (workspace / "lib/up").symlink_to("../package.json")
    (workspace / "twice").symlink_to("in")
    assert hashed(workspace, "in") == hashed(workspace, "twice") == digest(workspace, "lib/a.rb")
    assert hashed(workspace, "lib/up") == digest(workspace, "package.json")


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "lib/../../secret", "loop", "nothing", ".", ".."])
def test_a_link_that_leads_out_or_nowhere_is_not_there(workspace: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (workspace / "loop").symlink_to(target)
    assert hashed(workspace, "loop") == ""


def test_a_link_to_a_folder_is_not_followed(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/f").write_text("x")
    (workspace / "out").symlink_to(tmp_path / "outside")
    (workspace / "within").symlink_to("lib")
    (workspace / "deep").symlink_to(".")
    assert hashed(workspace, "out/**", "out/f", "within/a.rb", "deep/**") == ""


def test_nothing_that_blocks_is_waited_for(workspace: Path) -> None:
    os.mkfifo(workspace / "lib/fifo")
    assert hashed(workspace, "lib/*o", "!lib/foo") == ""


def test_no_pattern_takes_long(workspace: Path) -> None:
    name = "a" * 250
    (workspace / name).write_text("x")
    began = time.monotonic()
    assert hashed(workspace, "*a" * 120 + "b", "**/" * 50 + "nothing", "[a-z]*" * 100 + "!") == ""
    assert time.monotonic() - began < 5


def test_time_is_bounded(workspace: Path) -> None:
    with (workspace / "large").open("wb") as file:
        file.truncate(1 << 40)
    hasher = FileHasher(folder=workspace, seen_at=SEEN_AT, seconds=0.2)
    began = time.monotonic()
    with pytest.raises(ExpressionError, match="took too long"):
        hasher.hash(["large"])
    assert time.monotonic() - began < 5


def test_it_can_be_stopped_from_elsewhere(workspace: Path) -> None:
    with (workspace / "large").open("wb") as file:
        file.truncate(1 << 40)
    hasher = FileHasher(folder=workspace, seen_at=SEEN_AT)
    threading.Timer(0.2, hasher.stop).start()
    with pytest.raises(ExpressionError):
        hasher.hash(["large"])


def test_numbers_are_bounded(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_files, "MOST_ENTRIES", 5)
    with pytest.raises(ExpressionError, match="5 files at most"):
        hashed(workspace, "**")
    with pytest.raises(ExpressionError, match="has no NUL in it"):
        hashed(workspace, "a\0b/*.py")
    with pytest.raises(ExpressionError, match="at most 1000 patterns"):
        hashed(workspace, "x\n" * 1001)
    with pytest.raises(ExpressionError, match="at most 4096 characters"):
        hashed(workspace, "x" * 4097)


def test_depth_is_bounded(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(hash_files.DEEPEST + 1):
        deep /= "d"
    deep.mkdir(parents=True)
    with pytest.raises(ExpressionError, match="200 folders deep"):
        hashed(tmp_path, "**")
