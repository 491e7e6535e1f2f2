"""Named queries: SQL is text in files, each statement under a name with a sentence of intent.

-- name: lease_renew :one
-- Prolong a lease that still holds.
UPDATE nodes SET lease_until = now() + :ttl::interval WHERE id = :id RETURNING lease_until;
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import msgspec

from actors.errors import QueryError

Kind = Literal["one", "many", "exec"]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A statement with numbered parameters.

    `reads`: it changes nothing, and may be run again. `counted` answers how many rows it touched, where it can be
    wrapped so.
    """

    name: str
    kind: Kind
    intent: str
    text: str
    params: tuple[str, ...]
    reads: bool = False
    counted: str | None = None

    def arguments(self, given: Mapping[str, Any]) -> list[Any]:
        """The parameters in the statement's order. Raises `QueryError` for a missing or an unknown one."""
        if len(given) != len(self.params) or any(name not in given for name in self.params):
            missing, unknown = set(self.params) - set(given), set(given) - set(self.params)
            raise QueryError(f"query {self.name}: missing {sorted(missing)}, unknown {sorted(unknown)}")
        return [given[name] for name in self.params]


class Queries(Mapping[str, Query]):
    """The queries of a package by name."""

    def __init__(self, queries: Mapping[str, Query]) -> None:
        self._queries = dict(queries)

    def __getitem__(self, name: str) -> Query:
        try:
            return self._queries[name]
        except KeyError:
            raise QueryError(f"there is no query {name!r}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)


def load_queries(package: str) -> Queries:
    """Parse all `*.sql` files of a package's query folder. Raises `QueryError`."""
    found: dict[str, Query] = {}
    for path in sorted(sql_folder(package).glob("*.sql")):
        for query in parse(path.read_text(encoding="utf-8"), source=path.name):
            if query.name in found:
                raise QueryError(f"{path.name}: the name {query.name} is taken already")
            found[query.name] = query
    return Queries(found)


def sql_folder(package: str) -> Path:
    """Where the named queries of a package lie: inside it when installed, beside it in a checkout."""
    return _folder(package, installed="queries", checkout=package)


def migration_folder(package: str) -> Path:
    """Where the migrations of a package lie."""
    return _folder(package, installed="migrations", checkout=f"migrations/{package}")


def _folder(package: str, *, installed: str, checkout: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise QueryError(f"there is no package {package!r}")
    home = Path(spec.origin).parent
    for folder in (home / "_sql" / installed, home.parent / "sql" / checkout):
        if folder.is_dir():
            return folder
    raise QueryError(f"package {package!r} has no folder of SQL")


_HEAD = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*) :(?P<kind>one|many|exec)[ \t]*\n", re.MULTILINE)

_LEXEME = re.compile(
    r"""
    '(?:[^']|'')*'                      # text
    | "(?:[^"]|"")*"                    # a quoted name
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$   # dollar-quoted text
    | --[^\n]* | /\*.*?\*/              # comments
    | ::                                # a cast
    | :(?P<param>[a-z_][a-z0-9_]*)      # a parameter
    """,
    re.VERBOSE | re.DOTALL,
)


def parse(text: str, *, source: str) -> Iterator[Query]:
    """The queries of one file, in order."""
    heads = list(_HEAD.finditer(text))
    if not heads and text.strip():
        raise QueryError(f"{source}: no '-- name: something :one|:many|:exec' line")
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        body = text[head.end() : following.start() if following else len(text)].strip()
        comment, statement = _split_comment(body)
        if not comment or not statement:
            raise QueryError(f"{source}: query {head['name']} needs a sentence of intent and a statement")
        numbered, params = _number(statement.rstrip(";").rstrip())
        yield Query(
            name=head["name"],
            kind=head["kind"],  # type: ignore[arg-type]  # the pattern admits no other
            intent=comment,
            text=numbered,
            params=params,
            reads=_reads(numbered),
            counted=_counted(numbered),
        )


def _split_comment(body: str) -> tuple[str, str]:
    lines = body.splitlines()
    count = next((i for i, line in enumerate(lines) if not line.startswith("--")), len(lines))
    return " ".join(line.removeprefix("--").strip() for line in lines[:count]), "\n".join(lines[count:]).strip()


def _number(statement: str) -> tuple[str, tuple[str, ...]]:
    params: dict[str, int] = {}

    def replace(match: re.Match[str]) -> str:
        name = match["param"]
        return match[0] if name is None else f"${params.setdefault(name, len(params) + 1)}"

    return _LEXEME.sub(replace, statement), tuple(params)


def _reads(statement: str) -> bool:
    """Whether it selects, and no word in it locks or changes a row; our own functions have no side effects."""
    bare = _LEXEME.sub(" ", statement)
    return re.match(r"\s*(SELECT|WITH)\b", bare, re.IGNORECASE) is not None and not re.search(
        r"\b(INSERT|UPDATE|DELETE|MERGE|SHARE|pg_\w+|nextval|setval)\b", bare, re.IGNORECASE
    )


def _counted(statement: str) -> str | None:
    """The statement wrapped to return its row count; None for one that begins with WITH or returns rows itself."""
    bare = _LEXEME.sub(" ", statement)
    if not re.match(r"\s*(INSERT|UPDATE|DELETE)\b", bare, re.IGNORECASE) or re.search(r"(?i)\bRETURNING\b", bare):
        return None
    return f"WITH touched AS (\n{statement}\nRETURNING 1) SELECT count(*) FROM touched"  # noqa: S608  # of our own files
