"""What is found in a Dockerfile, and refused, before an engine gets it."""

from __future__ import annotations

import pytest

from buildsys.adapters.docker_dockerfile import Base, check_triggers, read_dockerfile
from buildsys.errors import ImageNotBuilt

ADD = "ADD http://127.0.0.1:1/x /x"


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("FROM a:1", ["a:1"]),
        ("from a AS x\nFROM x\nFROM b as y\nFROM Y\nFROM scratch", ["a", "b"]),
        ("ARG V=3.12\nARG B=python:$V\nFROM ${B}-slim", ["python:3.12-slim"]),
        ("ARG A=1 B=two\nFROM ${B:-one}", ["two"]),
        ("FROM ${NONE:-one}\nARG NONE=two\nFROM ${NONE:+three}one", ["one", "one"]),
        ('# a comment\n\nARG Q="q:1"\nFROM \\\n# within\n\n  $Q', ["q:1"]),
    ],
)
def test_the_images_that_it_starts_from(text: str, images: list[str]) -> None:
    assert [base.image for base in read_dockerfile(text, {}).bases] == images


def test_the_platform_of_an_image() -> None:
    found = read_dockerfile("ARG P=amd64\nFROM --platform=linux/$P a AS x\n", {})
    assert found.bases == (Base("a", "linux/amd64"),)
    assert found.text == "ARG P=amd64\nFROM a AS x\n"


def test_an_argument_beats_the_default() -> None:
    found = read_dockerfile("ARG V=1\nARG W\nFROM a:$V$W", {"V": "2", "W": "3", "X": "4"})
    assert found.text == "ARG V=1\nARG W\nFROM a:23\n"


def test_the_engine_gets_each_instruction_in_one_line() -> None:
    text = "# syntax=a/b\r\nfrom a\r\n\r\nRUN  printf 'a\tb' \\\r\n  # why\r\n\r\n  && true\r\n\tuser me \r\nCMD a\\"
    assert read_dockerfile(text, {}).text == "FROM a\nRUN printf 'a\tb'   && true\nUSER me\nCMD a\n"


@pytest.mark.parametrize(
    "line",
    [
        "ADD a /a",
        'ADD --chown=1:1 ["a b", "c/", "/d/"]',
        "ADD *.tar.gz ./x-1_2 /d",
        "ADD [ab].txt /d",
        "ADD a $HOME/",
        "ONBUILD ADD a /a",
    ],
)
def test_files_of_the_context_can_be_added(line: str) -> None:
    assert read_dockerfile(f"FROM a\n{line}\n", {}).text == f"FROM a\n{line}\n"


@pytest.mark.parametrize(
    "line",
    [
        "ADD http://169.254.169.254/ /x",
        "add\thttps://h/ /x",
        'ADD ["ht\\u0074p://h/", "/x"]',
        'ADD [NaN, "a", "x http://h/ /d"]',
        'ADD ["a", "x http://h/ /d"]',
        'ADD "http://h/" /x',
        "ADD http:\\//h/ /x",
        "ARG U=http://h/\nADD $U /x",
        "ADD --chown=1 git@h:r.git /x",
        "ADD a \\\n http://h/ /x",
        "ADD a/\\\n# comment\n\n http://h/ /x",
        "AD\\\nD http://h/ /x",
        "ONBUILD ADD http://h/ /x",
        "ONBUILD ONBUILD add http://h/ /x",
    ],
)
def test_nothing_else_can(line: str) -> None:
    with pytest.raises(ImageNotBuilt, match=r"^line \d: ADD .*only files of the context"):
        read_dockerfile(f"FROM a\n{line}\n", {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# escape=`\nFROM a\n", "line 1: an escape character"),
        (f"FROM a\nRUN true \\\\\n{ADD}\n", "line 2: engines differ"),
        (f"FROM a\nRUN true \\\\ \t\n{ADD}\n", "line 2: engines differ"),
        ("FROM a\nRUN true \\ \\\n", "line 2: RUN: a backslash at the end"),
        ('FROM a\nADD --chown=a\\ b ["http://h/","/x"]', "line 2: ADD .*plain --chown"),
        ("FROM a\nADD --keep-git-dir=true a /x", "line 2: ADD .*plain --chown"),
        ("FROM a\nRUN --mount=type=bind,from=b true", "line 2: RUN --mount.*options of RUN"),
        ("FROM a\nONBUILD RUN --network=host true", "line 2: RUN --network.*options of RUN"),
        ("FROM a\nRUN --security=insecure true", "line 2: RUN --security.*options of RUN"),
        ("FROM a\nRUN <<EOF\nFROM b AS c\nEOF\nFROM c", "line 2: RUN: here-documents"),
        ("FROM a\nCOPY <<-EOF /x\nEOF", "line 2: COPY: here-documents"),
        ("FROM ${A#b}", "line 1: FROM .*no image's name"),
        ("FROM --x=y a", "line 1: FROM: of its options"),
        ("FROM a\nONBU\u0130LD ADD a /b", "line 2: .*no instruction"),
        ("FROM a\n// syntax=b", "line 2: '//' is no instruction"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(text: str, words: str) -> None:
    with pytest.raises(ImageNotBuilt, match=words):
        read_dockerfile(text, {})


@pytest.mark.parametrize("character", "\0\x0b\x0c\r\x1b\x1c\x1d\x1e\x1f\x85\xa0\u2028\u3000\ufeff")
def test_no_other_white_space_or_control_character_passes(character: str) -> None:
    with pytest.raises(ImageNotBuilt, match=r"line 2: the character .* is not built in"):
        read_dockerfile(f"FROM a\nRUN true \\{character} \n{ADD}\n", {})


@pytest.mark.parametrize(
    "trigger", [ADD, f"AD\\\nD{ADD[3:]}", f"# escape=`\n{ADD}", f"RUN true\n{ADD}", "RUN --mount=x y"]
)
def test_what_an_image_wants_in_every_build(trigger: str) -> None:
    with pytest.raises(ImageNotBuilt, match="the image base wants in every build: "):
        check_triggers("base", ["RUN true", trigger])
