"""What steps say in their environment files, held against GitHub's documentation: each case names its sentence."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pytest

from buildsys.runner.environment_files import (
    MAX_ENTRIES,
    MAX_FILE,
    FileError,
    read_assignments,
    read_environment,
    read_paths,
)
from buildsys.runner.folder import JobFolder, Program
from buildsys.runner.step_effects import MAX_OUTPUTS, MAX_PATHS, Effects, Room, prepended, read_effects

SETS = [
    (
        "a variable is written as its name, an equals sign and its value",
        b"action_state=yellow\n",
        {"action_state": "yellow"},
    ),
    (
        "an output is written as its name, an equals sign and its value",
        b"SELECTED_COLOR=green\n",
        {"SELECTED_COLOR": "green"},
    ),
    ("several commands go into one file, a newline between them", b"A=1\nB=2\nC=3\n", {"A": "1", "B": "2", "C": "3"}),
    ("the last line needs no newline", b"A=1\nB=2", {"A": "1", "B": "2"}),
    ("nothing was written", b"", {}),
    ("empty lines say nothing", b"\nA=1\n\n\nB=2\n\n", {"A": "1", "B": "2"}),
    ("a value may be empty", b"A=\n", {"A": ""}),
    ("only the first equals sign parts name and value", b"A==x\nB=y=z\nC=w=\n", {"A": "=x", "B": "y=z", "C": "w="}),
    ("what is set again has the later value", b"A=1\nA=2\n", {"A": "2"}),
    ("names are case-sensitive", b"a=1\nA=2\n", {"a": "1", "A": "2"}),
    ("spaces belong to what they are in", b" A = 1 \n", {" A ": " 1 "}),
    ("a value is no code: quotes stay", b"A=\"x y\" 'z'\n", {"A": "\"x y\" 'z'"}),
    ("a value is no code: nothing is expanded", b"A=$HOME `id` $(id) %0A\\n\n", {"A": "$HOME `id` $(id) %0A\\n"}),
    ("a comment is not known", b"#A=1\n", {"#A": "1"}),
    ("the files are read as UTF-8", "A=\u00e9\u2713\U0001f680\n".encode(), {"A": "\u00e9\u2713\U0001f680"}),
    ("a byte order mark, as PowerShell writes it, is not part of a name", b"\xef\xbb\xbfA=1\n", {"A": "1"}),
    ("what is no UTF-8 is replaced", b"A=\xff\xfe!\n", {"A": "\ufffd\ufffd!"}),
    ("lines end at LF on Linux: CR stays in the value", b"A=1\r\nB=2\r\n", {"A": "1\r", "B": "2\r"}),
    ("a lone CR ends no line", b"A=1\rB=2\n", {"A": "1\rB=2"}),
    ("other separators of lines end none", "A=1\u2028B=2\x0b\x0c\x85\n".encode(), {"A": "1\u2028B=2\x0b\x0c\x85"}),
    ("a multiline value stands between a delimiter's two lines", b"J<<EOF\none\ntwo\nEOF\n", {"J": "one\ntwo"}),
    ("the closing delimiter may be the file's end", b"J<<EOF\none\nEOF", {"J": "one"}),
    ("a multiline value may be empty", b"J<<EOF\nEOF\n", {"J": ""}),
    ("a multiline value may be one empty line", b"J<<EOF\n\nEOF\n", {"J": ""}),
    ("empty lines within a value are kept", b"J<<EOF\none\n\nthree\n\nEOF\n", {"J": "one\n\nthree\n"}),
    ("assignments within a value are the value's", b"J<<EOF\nA=1\nB<<X\nEOF\n", {"J": "A=1\nB<<X"}),
    ("the delimiter must stand alone in its line", b"J<<EOF\n EOF\nEOF \nEOFEOF\nEOF\n", {"J": " EOF\nEOF \nEOFEOF"}),
    ("the delimiter may begin with the signs", b"A<<=E\nx\n=E\nB<<<E\ny\n<E\n", {"A": "x", "B": "y"}),
    ("any delimiter will do", b"A<<ghadelimiter_4f2 {}\nx\nghadelimiter_4f2 {}\n", {"A": "x"}),
    ("what follows a multiline value is read on", b"J<<EOF\none\nEOF\nA=1\n", {"J": "one", "A": "1"}),
    ("two multiline values with one delimiter", b"A<<E\n1\nE\n\nB<<E\n2\nE\n", {"A": "1", "B": "2"}),
    ("with CRs throughout, delimiter and value have them alike", b"J<<EOF\r\none\r\nEOF\r\n", {"J": "one\r"}),
    ("<< behind the equals sign is the value's", b"A=1<<EOF\n", {"A": "1<<EOF"}),
    ("= behind the << is the delimiter's", b"A<<E=F\nx\nE=F\n", {"A": "x"}),
    ("values of JSON in one line", b'm={"os":["a","b"]}\n', {"m": '{"os":["a","b"]}'}),
    ("names may have dashes, as outputs do", b"cache-hit=true\n", {"cache-hit": "true"}),
    ("names may have dots", b"a.b=1\n", {"a.b": "1"}),
]


@pytest.mark.parametrize(("sentence", "written", "expected"), SETS, ids=[case[0] for case in SETS])
def test_what_is_set(sentence: str, written: bytes, expected: dict[str, str]) -> None:
    assert read_assignments(written) == expected


WRONG = [
    ("a line is neither of the two forms", b"hello\n", "neither NAME=VALUE nor NAME<<DELIMITER: 'hello'"),
    ("a value is cut off by a newline", b"A=1\nsecond line\n", "neither"),
    ("the name must not be empty", b"=1\n", "no name before =: '=1'"),
    ("the name of a multiline value must not be empty", b"<<EOF\nx\nEOF\n", "no name before <<"),
    ("the delimiter must not be empty", b"A<<\nx\n\n", "no delimiter behind <<"),
    ("no line is the delimiter", b"A<<EOF\nx\ny\n", "the value of 'A' does not end: no line is 'EOF'"),
    ("nothing follows the first line", b"A<<EOF", "does not end"),
    ("the closing delimiter lacks its own line", b"A<<EOF\nxEOF", "it must stand in a line of its own"),
    ("the closing delimiter has a CR that the opening one has not", b"A<<EOF\nx\nEOF\r\n", "does not end"),
    ("a NUL fits into no variable", b"A=1\0\n", "NUL"),
    ("UTF-16, as old PowerShell writes it, is not UTF-8", "A=1\n".encode("utf-16"), "UTF-8"),
    ("a name is not endless", b"A" * 256 + b"=1\n", "longer than 255"),
]


@pytest.mark.parametrize(("sentence", "written", "message"), WRONG, ids=[case[0] for case in WRONG])
def test_what_is_wrong(sentence: str, written: bytes, message: str) -> None:
    with pytest.raises(FileError) as error:
        read_assignments(written)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_messages_stay_short() -> None:
    with pytest.raises(FileError) as error:
        read_assignments(b"x" * 100_000)
    assert len(str(error.value)) < 200


VARIABLES = [
    ("NODE_OPTIONS cannot be set by the file", b"NODE_OPTIONS=--require x\n", None, ()),
    ("nor in another case", b"node_options=x\n", None, ()),
    ("default variables named GITHUB_* are not overwritten", b"GITHUB_SHA=x\nA=1\n", {"A": "1"}, ("GITHUB_SHA",)),
    ("default variables named RUNNER_* are not overwritten", b"RUNNER_OS=x\n", {}, ("RUNNER_OS",)),
    ("CI can be overwritten", b"CI=false\n", {"CI": "false"}, ()),
    ("a name like a default one is anybody's", b"GITHUB_MINE=1\n", {"GITHUB_MINE": "1"}, ()),
    ("a multiline variable", b"J<<E\n1\n2\nE\n", {"J": "1\n2"}, ()),
]


@pytest.mark.parametrize(("sentence", "written", "found", "kept"), VARIABLES, ids=[case[0] for case in VARIABLES])
def test_variables(sentence: str, written: bytes, found: dict[str, str] | None, kept: tuple[str, ...]) -> None:
    fixed = {"GITHUB_SHA": "abc", "RUNNER_OS": "Linux"}
    if found is None:
        with pytest.raises(FileError, match="cannot be set by GITHUB_ENV"):
            read_environment(written, fixed=fixed)
    else:
        assert read_environment(written, fixed=fixed) == (found, list(kept))


PATHS = [
    ("a folder a line", b"/opt/a\n/opt/b\n", ("/opt/a", "/opt/b")),
    ("the last line needs no newline", b"/opt/a", ("/opt/a",)),
    ("empty lines name no folder", b"\n/opt/a\n \n", ("/opt/a",)),
    ("no sign has a meaning in it", b"/opt/a=b<<c\n", ("/opt/a=b<<c",)),
    ("a home is not looked up", b"~/bin\n$HOME/bin\n", ("~/bin", "$HOME/bin")),
    ("nothing was written", b"", ()),
]


@pytest.mark.parametrize(("sentence", "written", "found"), PATHS, ids=[case[0] for case in PATHS])
def test_paths(sentence: str, written: bytes, found: tuple[str, ...]) -> None:
    assert read_paths(written) == found


def test_the_latest_path_goes_first_and_counts_once() -> None:
    """A folder is put before all that is in PATH, so what is added last is looked into first."""
    assert prepended(("/a", "/b", "/c")) == ("/c", "/b", "/a")
    assert prepended(("/a", "/b", "/a")) == ("/a", "/b")


def test_a_flood_of_names_is_refused() -> None:
    most = b"".join(b"n%d=\n" % number for number in range(MAX_ENTRIES))
    assert len(read_assignments(most)) == MAX_ENTRIES
    with pytest.raises(FileError, match="more than 10,000 names"):
        read_assignments(most + b"one_more=\n")
    assert len(read_assignments(b"same=1\n" * 100_000)) == 1


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    folder = JobFolder(jobs=tmp_path, assignment=uuid4())
    folder.claim("runner")
    folder.create()
    folder.add_step(1, Program(run=b"#!/bin/sh\n", script=b"true\n"), log_limit=4096)
    return folder


def files(folder: JobFolder) -> Path:
    return folder.path / "steps" / "1"


def effects(folder: JobFolder, taken: Room | None = None) -> Effects:
    return read_effects(folder, 1, fixed={"GITHUB_SHA": "x"}, taken=taken or Room())


def test_all_files_of_a_step(folder: JobFolder) -> None:
    place = files(folder)
    (place / "env").write_text("A=1\nGITHUB_SHA=2\n")
    (place / "output").write_text("o=2\n")
    (place / "path").write_text("/opt\n")
    (place / "state").write_text("s=3\n")
    (place / "summary").write_text("# Good\n")
    assert effects(folder) == Effects(
        env={"A": "1"},
        outputs={"o": "2"},
        paths=("/opt",),
        summary="# Good\n",
        warnings=("GITHUB_ENV: default variables cannot be changed: GITHUB_SHA",),
    )


def test_files_are_fresh_and_writable_by_any_user(folder: JobFolder) -> None:
    for name in ("env", "output", "path", "state", "summary"):
        assert (files(folder) / name).read_bytes() == b""
        assert (files(folder) / name).stat().st_mode & 0o777 == 0o666
    assert effects(folder) == Effects()


def test_a_summary_is_removed_by_removing_its_file(folder: JobFolder) -> None:
    (files(folder) / "summary").write_text("text")
    (files(folder) / "summary").unlink()
    assert effects(folder).summary is None


def test_removed_files_say_nothing(folder: JobFolder) -> None:
    for name in ("env", "output", "path", "state", "summary"):
        (files(folder) / name).unlink()
    assert effects(folder) == Effects()


def test_a_file_that_is_wrong_has_no_effect_and_the_others_have(folder: JobFolder) -> None:
    (files(folder) / "env").write_text("A=1\nwrong\n")
    (files(folder) / "output").write_text("o=2\n")
    read = effects(folder)
    assert (read.env, read.outputs) == ({}, {"o": "2"})
    assert read.problems == ("GITHUB_ENV: a line is neither NAME=VALUE nor NAME<<DELIMITER: 'wrong'",)


def test_wrong_state_fails_the_step(folder: JobFolder) -> None:
    (files(folder) / "state").write_text("wrong\n")
    assert effects(folder).problems[0].startswith("GITHUB_STATE: a line is neither")


def test_a_summary_above_its_limit_fails_nothing(folder: JobFolder) -> None:
    """An upload that fails for a summary of more than 1 MiB does not affect the status of the step."""
    (files(folder) / "summary").write_bytes(b"x" * MAX_FILE)
    assert effects(folder).summary == "x" * MAX_FILE
    (files(folder) / "summary").write_bytes(b"x" * (MAX_FILE + 1))
    read = effects(folder)
    assert read.summary is None
    assert read.problems == ()
    assert read.warnings == ("GITHUB_STEP_SUMMARY was not kept: it is larger than 1 MiB",)


@pytest.mark.parametrize("name", ["env", "output", "path", "state"])
def test_floods_are_bounded(folder: JobFolder, name: str) -> None:
    """A sparse file of 10 GB takes no more of the runner than one that is a byte too long."""
    with (files(folder) / name).open("wb") as file:
        file.truncate(10 << 30)
    (problem,) = effects(folder).problems
    assert problem.endswith("it is larger than 1 MiB")


@pytest.mark.parametrize("name", ["env", "output", "path", "state"])
@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "folder", "device"])
def test_what_is_no_file_is_neither_followed_nor_waited_for(
    folder: JobFolder, tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / "secret").write_text("A=stolen\n")
    place = files(folder) / name
    place.unlink()
    match kind:
        case "link":
            place.symlink_to(tmp_path / "secret")
        case "dangling":
            place.symlink_to(tmp_path / "nothing")
        case "fifo":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case "device":
            if os.geteuid() != 0:
                pytest.skip("only root makes devices")
            try:
                os.mknod(place, 0o020666, os.makedev(1, 5))
            except PermissionError:
                pytest.skip("devices cannot be made here")
    read = effects(folder)
    assert (read.env, read.outputs, read.paths) == ({}, {}, ())
    assert len(read.problems) == 1
    assert "stolen" not in read.problems[0]


def test_a_linked_folder_of_a_step_is_not_followed(folder: JobFolder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "env").write_text("A=stolen\n")
    files(folder).rename(folder.path / "gone")
    files(folder).symlink_to(elsewhere)
    read = effects(folder)
    assert read.env == {}
    assert len(read.problems) == 4
    with pytest.raises(OSError, match=r"directory|symbolic"):
        folder.add_step(1, Program(run=b"", script=b""), log_limit=1)


def test_the_next_step_is_not_written_through_links(folder: JobFolder, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    place = folder.path / "steps" / "2"
    place.mkdir()
    for name in ("run", "script", "env", "output"):
        (place / name).symlink_to(victim)
    folder.add_step(2, Program(run=b"new", script=b"new"), log_limit=4096)
    assert victim.read_text() == "as it was"
    assert (place / "run").read_bytes() == b"new"
    assert not (place / "run").is_symlink()


def test_the_folder_of_all_steps_is_not_followed(folder: JobFolder, tmp_path: Path) -> None:
    (folder.path / "steps").rename(folder.path / "gone")
    (folder.path / "steps").symlink_to(tmp_path)
    with pytest.raises(OSError, match=r"directory|symbolic"):
        folder.add_step(2, Program(run=b"", script=b""), log_limit=1)
    assert not (tmp_path / "2").exists()


def test_steps_have_a_room_in_common(folder: JobFolder) -> None:
    (files(folder) / "env").write_text("A=" + "x" * 1000 + "\n")
    (files(folder) / "output").write_text("A=" + "x" * 1000 + "\n")
    (files(folder) / "path").write_text("/opt\n")
    assert effects(folder).problems == ()
    full = effects(folder, Room(environment=(1 << 20) - 1000, outputs=MAX_OUTPUTS - 1000, paths=MAX_PATHS))
    assert (full.env, full.outputs, full.paths) == ({}, {}, ())
    assert full.problems == (
        "GITHUB_ENV: the variables that the job's steps set are larger than 1 MiB in all",
        "GITHUB_OUTPUT: the outputs of the job's steps are larger than 16 MiB in all",
        "GITHUB_PATH: the job's steps add more than 1,000 folders",
    )
