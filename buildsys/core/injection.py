"""What strangers write, and where it becomes a part of a script, or of how one is run.

`run: echo ${{ github.event.issue.title }}` puts the title into the script before a shell reads it: who opens an issue
writes the script. In an environment variable the same text is only a text.
Sources: "Script injections" in GitHub's security guides and the list of contexts to take as untrusted there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from buildsys.core.expression_shapes import Shape
from buildsys.core.expression_tree import Both, Call, Compare, Either, Index, Node, Not, Text
from buildsys.core.expressions import Reference, references

_WRITTEN = frozenset(
    {
        *("body", "default_branch", "email", "head_ref", "label", "message", "name", "page_name", "ref", "title"),
        *("display_title", "head_branch"),
    }
)
"""How what strangers write is called under github.event: the names that GitHub's guide gives, and two like them."""

_HOLDERS = frozenset(
    {
        *("event", "comment", "commits", "discussion", "head_commit", "issue", "labels", "milestone", "pages"),
        *("pull_request", "release", "review", "review_comment", "workflow_run", "author", "committer", "head", "repo"),
        "user",
    }
)
"""What has such properties, taken as a whole: by toJSON, say."""

_OWN = frozenset({"base", "inputs", "organization", "repository"})
"""Parts of an event that only those who own the repository, or may write to it, choose."""

_HARMLESS = frozenset({"contains", "startsWith", "endsWith", "hashFiles", "success", "always", "cancelled", "failure"})
"""Functions whose value holds nothing of their arguments."""


SCRIPT = 'becomes part of the script: give it to an environment variable by env, and write "$NAME" here'
SHELL = "becomes part of the command that reads the script: write the shell itself here"
DIRECTORY = "says in which folder the script runs: write the folder itself here"
"""What comes of a text at a place, and what to do instead."""


class Stranger(msgspec.Struct, frozen=True, kw_only=True):
    """Where an expression takes in what strangers write; `origin` is the property that it comes from."""

    at: int
    origin: str
    said: str


def strangers(node: Node, env: Mapping[str, Shape]) -> Iterator[Stranger]:
    """All that the value of a template has of strangers; `env` is what is known of variables by their names."""
    for value in _values(node):
        for reference in references(value):
            if found := _stranger(reference, env):
                yield found


def _values(node: Node) -> Iterator[Node]:
    """The parts of an expression that its value is made of: a comparison is true or false whatever it compares."""
    match node:
        case Not() | Compare():
            return
        case Both(operands=operands):
            yield from _values(operands[-1])
        case Either(operands=parts) | Text(parts=parts):
            for part in parts:
                yield from _values(part)
        case Call(name="case", arguments=arguments):
            for value in (*arguments[1:-1:2], arguments[-1]):
                yield from _values(value)
        case Call(name=name, arguments=arguments):
            for argument in arguments if name not in _HARMLESS else ():
                yield from _values(argument)
        case Index(of=of, key=key) if isinstance(of, Call | Both | Either):
            yield from _values(of)
            yield from _values(key)
        case _:
            yield node


def _stranger(reference: Reference, env: Mapping[str, Shape]) -> Stranger | None:
    context, *names = ("*" if name is None or name.isdecimal() else name for name in reference.path)
    if context == "env" and len(names) == 1 and names[0] in env and (origin := env[names[0]].strangers):
        return Stranger(at=reference.at, origin=origin, said=f"env.{names[0]} holds what strangers write ({origin})")
    path = [name.lower() for name in names]
    shown = ".".join((context, *path))
    while path[-1:] == ["*"]:
        path.pop()
    if context == "github" and (path == ["head_ref"] or (_is_of_event(path) and path[-1] in _WRITTEN)):
        return Stranger(at=reference.at, origin=shown, said=f"{shown} is written by strangers")
    if context == "github" and (not path or (_is_of_event(path) and path[-1] in _HOLDERS)):
        return Stranger(at=reference.at, origin=shown, said=f"{shown} holds what strangers write")
    return None


def _is_of_event(path: Sequence[str]) -> bool:
    return path[:1] in (["event"], ["*"]) and _OWN.isdisjoint(path)
