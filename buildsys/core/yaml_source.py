"""YAML 1.2 text as a tree that knows where everything stands in the file.

The tree is built from the parser's events without recursion, and an alias is the node it stands for, not a copy. So a
hostile file costs no more than its own length: what its aliases would grow to is counted, and refused, before anyone
walks it. Plain scalars are read by the YAML 1.2 core schema (§10.3.2): `on`, `yes` and `010` are not booleans or octal.
Where a text is wanted of a number or a boolean it is that value's text, `1.1` of `1.10`, as GitHub's published runner
has it; in quotes it stays as it is written. Infinities and NaN are texts here.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator

import msgspec
import yaml

from buildsys.core.expression_values import parse_number, to_text

MAX_BYTES = 512 << 10
"""The largest file, as GitHub allows for a workflow."""

MAX_DEPTH = 32
MAX_NODES = 20_000
"""Values and keys, counted with every alias expanded."""

MAX_LENGTH = 1 << 20
"""Characters of all texts, counted so."""

_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_BASED = re.compile(r"0x0*[0-9a-fA-F]{1,8}|0o0*[0-7]{1,11}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")


class Scalar(msgspec.Struct, frozen=True, kw_only=True):
    """`value` is what the file says means by the core schema, and `text` that as a text; of a null it is as written.

    It stands in the file's characters from `start` to `end`, in a `style`: `'`, `"`, `|`, `>` or empty.
    """

    line: int
    column: int
    text: str
    value: str | int | float | bool | None
    start: int = 0
    end: int = 0
    style: str = ""


class Sequence(msgspec.Struct, frozen=True, kw_only=True):
    line: int
    column: int
    items: tuple[Node, ...]


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """`entries` are in the file's order and hold a repeated key as often as it stands there."""

    line: int
    column: int
    entries: tuple[tuple[Scalar, Node], ...]


Node = Scalar | Sequence | Mapping


class YamlError(Exception):
    """The text is not YAML that we read; lines and columns count from 1."""

    def __init__(self, message: str, *, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def parse(text: bytes | str) -> Node:
    """The tree of the text's only document. Raises `YamlError`; whatever the text is, in time linear in its length."""
    source = text.encode() if isinstance(text, str) else text
    if len(source) > MAX_BYTES:
        raise YamlError(f"the file is larger than {MAX_BYTES >> 10} KiB")
    try:
        root = _Builder().build(_events(decoded(source)))
    except UnicodeDecodeError as error:
        raise YamlError("the file is not UTF-8", line=source.count(b"\n", 0, error.start) + 1) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.problem, error.context) if part)
        raise YamlError(
            f"not YAML: {what}", line=mark.line + 1 if mark else 1, column=mark.column + 1 if mark else 1
        ) from None
    except yaml.reader.ReaderError as error:
        before = source.removeprefix(codecs.BOM_UTF8)[: error.position].decode(errors="replace")
        message = "not YAML: the file contains a control character"
        column = len(before) - before.rfind("\n")
        raise YamlError(message, line=before.count("\n") + 1, column=column) from None
    if root is None:
        raise YamlError("the file is empty")
    return root


def decoded(source: bytes) -> str:
    """The file's characters, as they are counted in a `Scalar`."""
    return source.decode("utf-8-sig")


def _events(text: str) -> Iterator[yaml.Event]:
    loader = yaml.CSafeLoader(text)
    try:
        while (event := loader.get_event()) is not None:
            yield event
    finally:
        loader.dispose()


class _Open:
    """A collection that is still being read, and the aliases' worth of what is in it."""

    def __init__(self, event: yaml.CollectionStartEvent) -> None:
        self.event = event
        self.children: list[Node] = []
        self.size = 1
        self.length = 0
        self.height = 1


class _Builder:
    def __init__(self) -> None:
        self._root: Node | None = None
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int, int, int] | None] = {}

    def build(self, events: Iterator[yaml.Event]) -> Node | None:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
                raise _at(event, "the file holds more than one document")
            if isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.ScalarEvent):
                self._add(event, _scalar(event), size=1, length=len(event.value), height=0)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._begin(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()
        return self._root

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        _refuse_tag(event)
        if len(self._open) >= MAX_DEPTH:
            raise _at(event, f"nested deeper than {MAX_DEPTH} levels")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(event))

    def _end(self) -> None:
        done = self._open.pop()
        line, column = _position(done.event)
        node: Node
        if isinstance(done.event, yaml.SequenceStartEvent):
            node = Sequence(line=line, column=column, items=tuple(done.children))
        else:
            node = Mapping(line=line, column=column, entries=tuple(_entries(done.children)))
        self._add(done.event, node, size=done.size, length=done.length, height=done.height)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise _at(event, f"there is no anchor &{event.anchor} before this alias")
        known = self._anchors[event.anchor]
        if known is None:
            raise _at(event, f"*{event.anchor} contains itself")
        node, size, length, height = known
        if len(self._open) + height > MAX_DEPTH:
            raise _at(event, f"nested deeper than {MAX_DEPTH} levels")
        self._add(event, node, size=size, length=length, height=height)

    def _add(self, event: yaml.NodeEvent, node: Node, *, size: int, length: int, height: int) -> None:
        if event.anchor is not None and not isinstance(event, yaml.AliasEvent):
            self._anchors[event.anchor] = node, size, length, height
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        parent.children.append(node)
        parent.size += size
        parent.length += length
        parent.height = max(parent.height, height + 1)
        if parent.size > MAX_NODES:
            raise _at(event, f"the file holds more than {MAX_NODES} values, its aliases expanded")
        if parent.length > MAX_LENGTH:
            raise _at(event, f"the file holds more than {MAX_LENGTH >> 20} Mi characters, its aliases expanded")


def _entries(children: list[Node]) -> Iterator[tuple[Scalar, Node]]:
    for key, value in zip(children[::2], children[1::2], strict=True):
        if not isinstance(key, Scalar):
            raise YamlError("a key must be a plain word", line=key.line, column=key.column)
        yield key, value


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    _refuse_tag(event)
    line, column = _position(event)
    plain = event.style in (None, "") and event.tag is None
    value = _plain(event.value) if plain else event.value
    assert event.start_mark is not None
    assert event.end_mark is not None
    return Scalar(
        line=line,
        column=column,
        text=event.value if value is None else to_text(value),
        value=value,
        start=event.start_mark.index,
        end=event.end_mark.index,
        style=event.style or "",
    )


def _plain(text: str) -> str | int | float | bool | None:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text) and not math.isnan(number := parse_number(text)):
        return number
    return float(text) if _FLOAT.fullmatch(text) else text


def _refuse_tag(event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
    if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
        raise _at(event, f"the tag {event.tag} is not supported")


def _at(event: yaml.Event, message: str) -> YamlError:
    line, column = _position(event)
    return YamlError(message, line=line, column=column)


def _position(event: yaml.Event) -> tuple[int, int]:
    assert event.start_mark is not None
    return event.start_mark.line + 1, event.start_mark.column + 1
