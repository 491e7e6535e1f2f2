"""What strangers write, and where it becomes a part of a script, or of how one is run.

`run: echo ${{ github.event.issue.title }}` puts the title into the script before a shell reads it: who opens an issue
writes the script. In an environment variable the same text is only a text.
Sources: "Script injections" in GitHub's security guides and the list of contexts to take as untrusted there.
"""

from __future__ import annotations

from collections.abc import Iterator

from buildsys.core.expression_tree import Both, Call, Compare, Either, Index, Node, Not, Text
from buildsys.core.expressions import Reference, references

_UNTRUSTED = tuple(
    tuple(path.split("."))
    for path in (
        "github.head_ref",
        "github.event.comment.body",
        "github.event.commits.*.author.email",
        "github.event.commits.*.author.name",
        "github.event.commits.*.message",
        "github.event.discussion.body",
        "github.event.discussion.title",
        "github.event.head_commit.author.email",
        "github.event.head_commit.author.name",
        "github.event.head_commit.message",
        "github.event.issue.body",
        "github.event.issue.title",
        "github.event.pages.*.page_name",
        "github.event.pull_request.body",
        "github.event.pull_request.head.label",
        "github.event.pull_request.head.ref",
        "github.event.pull_request.head.repo.default_branch",
        "github.event.pull_request.title",
        "github.event.review.body",
        "github.event.review_comment.body",
        "github.event.workflow_run.head_branch",
        "github.event.workflow_run.head_commit.author.email",
        "github.event.workflow_run.head_commit.author.name",
        "github.event.workflow_run.head_commit.message",
    )
)
"""`*` is any item of a list."""

_HARMLESS = frozenset({"contains", "startsWith", "endsWith", "hashFiles", "success", "always", "cancelled", "failure"})
"""Functions whose value holds nothing of their arguments."""


SCRIPT = 'becomes part of the script: give it to an environment variable by env, and write "$NAME" here'
SHELL = "becomes part of the command that reads the script: write the shell itself here"
DIRECTORY = "says in which folder the script runs: write the folder itself here"
"""What comes of a text at a place, and what to do instead."""


def untrusted(node: Node, becomes: str) -> Iterator[tuple[int, str]]:
    """Where a template takes in what strangers write, and what to say of it; `becomes` is what comes of the text."""
    for value in _values(node):
        for reference in references(value):
            if path := _stranger(reference):
                yield reference.at, f"{path} is written by strangers and {becomes}"


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


def _stranger(reference: Reference) -> str | None:
    """The untrusted property that a reference is, is a part of, or has in it."""
    if reference.path[0] != "github":
        return None
    path = [None if name is None else name.lower() for name in reference.path]
    for wanted in _UNTRUSTED:
        if all(name in (None, known) or known == "*" for name, known in zip(path, wanted, strict=False)):
            return ".".join(wanted)
    return None
