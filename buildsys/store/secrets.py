"""Secrets and variables: values that builds are given by name.

They are an account's, for all of its projects, or a project's own, which stand before the account's. All are encrypted
for their place, kind and name: a row that is moved or renamed does not open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID, uuid4

import asyncpg
import msgspec

from actors import Database
from buildsys.core.project import Project
from buildsys.core.secret_names import GITHUB_TOKEN, Kind, check_value, is_name, stored_name
from buildsys.errors import NotFound, SetupError
from buildsys.store.cipher import Cipher, SecretKeyMismatch
from buildsys.store.projects import DEFAULT_ACCOUNT
from buildsys.store.queries import QUERIES


class ValueSealed(SetupError):
    """A secret or variable does not open."""

    code = "value_sealed"

    def __init__(self, kind: Kind, name: str, scope: str) -> None:
        super().__init__(
            f"the {kind} {name} of the {scope} does not open: it was sealed with another secret.key, or its row was "
            f"changed by hand. Put that key back, or set it anew: buildsys {kind} set {name}"
            + (" --project PROJECT" if scope == "project" else "")
        )


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is told of a secret or variable: whose it is, when it was set and by which token. Of a secret no `value`."""

    name: str
    scope: Literal["account", "project"]
    set_at: datetime
    set_by: str
    value: str | None = None


class NamedValues:
    """What secrets and variables have in common. Names are case-insensitive, and kept in upper case."""

    kind: ClassVar[Kind]

    def __init__(self, *, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher

    async def set(self, name: str, value: str, *, project: Project | None, by: str) -> tuple[Entry, bool]:
        """Set or replace what a project, or with None the account, has under the name; and whether it is new.

        Raises `Invalid` for a name or value that may not be, and `NotFound` where the project has gone meanwhile.
        """
        name = stored_name(name, self.kind)
        check_value(value, name)
        account = project.account if project else await self._default_account()
        owner = project.id if project else account
        try:
            row = await self._database.one(
                QUERIES["value_set"],
                kind=self.kind,
                account=account,
                project=project and project.id,
                name=name,
                value=self._cipher.encrypt(value.encode(), owner=owner, label=self._label(name)),
                set_by=by,
            )
        except asyncpg.ForeignKeyViolationError:
            raise NotFound("the project has been removed") from None
        assert row is not None
        return self._entry(row), row["made"]

    async def list(self, project: Project | None) -> list[Entry]:
        """What holds for a project's builds, or with None what is set for all projects; by name."""
        if project is None:
            query = QUERIES["value_list_account"]
            return [
                self._entry(row) for row in await self._database.many(query, kind=self.kind, account=DEFAULT_ACCOUNT)
            ]
        return [self._entry(row) for row in await self._rows(project.id, None)]

    async def remove(self, name: str, *, project: Project | None) -> None:
        """Remove what a project, or with None the account, has under the name. Raises `NotFound`, `Invalid`."""
        name = stored_name(name, self.kind)
        row = await self._database.one(
            QUERIES["value_remove"],
            kind=self.kind,
            account=DEFAULT_ACCOUNT,
            project=project and project.id,
            name=name,
        )
        if row is None and project is not None:
            raise NotFound(f"project {project.name} has no {self.kind} {name} of its own")
        if row is None:
            raise NotFound(f"there is no {self.kind} {name} for all projects")

    async def _rows(self, project: UUID, names: Iterable[str] | None) -> Sequence[Any]:
        wanted = None if names is None else sorted({name.upper() for name in names if is_name(name)})
        return await self._database.many(QUERIES["value_list_project"], kind=self.kind, project=project, names=wanted)

    def _open(self, row: Any) -> str:
        try:
            owner = row["project"] or row["account"]
            return self._cipher.decrypt(row["value"], owner=owner, label=self._label(row["name"])).decode()
        except SecretKeyMismatch:
            raise ValueSealed(self.kind, row["name"], _scope(row)) from None

    def _entry(self, row: Any) -> Entry:
        return Entry(name=row["name"], scope=_scope(row), set_at=row["set_at"], set_by=row["set_by"])

    def _label(self, name: str) -> str:
        return f"{self.kind} {name}"

    async def _default_account(self) -> UUID:
        row = await self._database.one(QUERIES["account_ensure"], id=uuid4(), name=DEFAULT_ACCOUNT)
        assert row is not None
        id: UUID = row["id"]
        return id


class Secrets(NamedValues):
    """Values that nobody is shown again. A build is given those that its jobs name, and no others."""

    kind = "secret"

    async def named(self, project: UUID, names: Iterable[str]) -> dict[str, str]:
        """Those of the named secrets that are set, under their upper-case names. Raises `ValueSealed`."""
        return {row["name"]: self._open(row) for row in await self._rows(project, names)}

    async def missing(self, project: UUID, names: Iterable[str]) -> list[str]:
        """Those of the named secrets that are not set, as they are written; `GITHUB_TOKEN` may always be named."""
        names = list(names)
        there = {GITHUB_TOKEN, *(row["name"] for row in await self._rows(project, names))}
        return [name for name in names if name.upper() not in there]


class Variables(NamedValues):
    """Values that may be read by those who may set them; a build is given all of them."""

    kind = "variable"

    async def of_project(self, project: UUID) -> dict[str, str]:
        """All that hold for a project, under their upper-case names. Raises `ValueSealed`."""
        return {row["name"]: self._open(row) for row in await self._rows(project, None)}

    def _entry(self, row: Any) -> Entry:
        return msgspec.structs.replace(super()._entry(row), value=self._open(row))


def _scope(row: Any) -> Literal["account", "project"]:
    return "project" if row["project"] else "account"
