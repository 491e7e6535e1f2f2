"""What is looked for in a Dockerfile before the engine builds it: the images it starts from, and what it may not do.

`ADD` of a URL is fetched by the engine itself, with this host's place in the network and without any of what holds for
jobs. So ADD takes plain paths only, of which nothing can be made that is a URL. What `RUN` does, a container does.

Source: the Dockerfile reference (parser directives, line continuation, `FROM`, `ARG`, `ADD`, variables).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping

from buildsys.errors import ImageNotBuilt

_OTHER_ESCAPE = re.compile(r"\s*#\s*escape\s*=\s*[^\\\s]", re.IGNORECASE)
_PLAIN_PATH = re.compile(r"[^:$\\\"'`]+")
_FLAGS = re.compile(r"^(?:--\S+ )+")
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::(?P<sign>[-+])(?P<other>[^}]*))?\}|(?P<plain>\w+))")


def read_dockerfile(text: str, arguments: Mapping[str, str]) -> list[str]:
    """The images that the file starts from. Raises `ImageNotBuilt` for what it may not do."""
    images: list[str] = []
    stages = {"scratch"}
    values: dict[str, str] = {}
    began = False
    for word, rest in _instructions(text):
        check_instruction(word, rest)
        if word == "ARG" and not began:  # only those before the first FROM are known to a FROM
            for name, value in _declared(rest):
                values[name] = arguments.get(name, _expand(value, values))
        elif word == "FROM":
            began = True
            image, *stage = [each for each in rest.split() if not each.startswith("--")] or [""]
            image = _expand(image, values)
            if image.lower() not in stages:
                images.append(image)
            stages.update(each.lower() for each in stage[1:])
    return images


def check_instruction(word: str, rest: str) -> None:
    """Raises `ImageNotBuilt` for an ADD, now or in a later build, of what is no file of the context."""
    if word == "ONBUILD":
        inner, _, rest = _parted(rest)
        check_instruction(inner, rest)
    elif word == "ADD":
        for source in _words(_FLAGS.sub("", rest))[:-1]:
            if not _PLAIN_PATH.fullmatch(source):
                raise ImageNotBuilt(f"ADD {source[:80]}: only files of the context can be added; fetch others with RUN")


def check_triggers(image: str, triggers: list[str]) -> None:
    """The same for what an image has to be done in the builds that start from it."""
    for trigger in triggers:
        word, _, rest = _parted(trigger)
        try:
            check_instruction(word, rest)
        except ImageNotBuilt as error:
            raise ImageNotBuilt(f"the image {image} wants in every build: {error}") from None


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction, in capitals, with what follows it in one line."""
    lines = iter(text.split("\n"))
    for line in lines:
        if _OTHER_ESCAPE.match(line):
            raise ImageNotBuilt("a Dockerfile's escape character other than \\ is not built in")
        whole = line.strip()
        if not whole or whole.startswith("#"):
            continue
        while whole.endswith("\\"):
            following = next((each for each in lines if each.strip() and not each.lstrip().startswith("#")), "")
            whole = whole[:-1] + following.rstrip()
        word, _, rest = _parted(whole)
        yield word, rest


def _parted(line: str) -> tuple[str, str, str]:
    word, space, rest = re.sub(r"\s+", " ", line.strip()).partition(" ")
    return word.upper(), space, rest


def _words(rest: str) -> list[str]:
    if rest.startswith("["):
        try:
            return [str(each) for each in json.loads(rest)]
        except ValueError:
            pass  # the engine takes it for plain words then
    return rest.split()


def _declared(rest: str) -> Iterator[tuple[str, str]]:
    try:
        words = shlex.split(rest)
    except ValueError:
        raise ImageNotBuilt(f"ARG {rest[:80]}: a quote is not closed") from None
    for each in words:
        name, _, value = each.partition("=")
        yield name, value


def _expand(text: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        known = values.get(found["braced"] or found["plain"], "")
        if found["sign"] == "+":
            return (found["other"] or "") if known else ""
        return known or found["other"] or ""

    return _VARIABLE.sub(value, text)
